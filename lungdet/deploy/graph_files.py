"""ONNX files: written with torch's exporter, and compared with torch."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from lungdet.deploy.graph_specs import TRACED, Axis, GraphSpec
from lungdet.errors import CheckpointError
from lungdet.models.detectors.graph_detector import Graphs

CACHE = 'TORCHINDUCTOR_CACHE_DIR'
# largest allowed difference from torch, relative to the output's largest value
TOLERANCE = {'fp32': 1e-4, 'bf16': 5e-2}
# sizes for the comparison, other than those of the trace
OTHER_SIZES = {'batch': 1, 'rois': 2, 'd': 2, 'h': 3, 'w': 2}


def write_graphs(
    specs: Mapping[str, GraphSpec], folder: Path
) -> dict[str, Path]:
    """Write each graph as ``NAME.onnx``.

    Args:
        specs: Specs of the graphs, by name.
        folder: An existing folder.

    Returns:
        The file of each graph, by name.
    """
    files = {name: folder / f'{name}.onnx' for name in specs}
    for name, spec in specs.items():
        write_graph(spec, files[name])
    return files


def write_graph(spec: GraphSpec, path: Path) -> None:
    """Write a graph with its weights, and check it with the ONNX library."""
    import onnx

    symbols = {name: Dim(name) for name in TRACED}
    with _quiet(), _cache_in(path.parent), torch.no_grad():
        torch.onnx.export(
            spec.layers,
            tuple(spec.example(TRACED)),
            path,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_shapes=[
                _dynamic(axes, symbols) for axes in spec.inputs.values()
            ],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(path)
    _tidy(model, spec)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def compare_graphs(
    specs: Mapping[str, GraphSpec], graphs: Graphs, precision: str = 'fp32'
) -> dict[str, float]:
    """Compare graphs with torch, on random inputs of sizes not traced.

    Args:
        specs: The torch layers of each graph, by name.
        graphs: The graphs, loaded into a runtime.
        precision: Precision of the runtime, a key of ``TOLERANCE``.

    Returns:
        Largest difference of each graph, relative to the largest absolute
        value of the output.

    Raises:
        CheckpointError: A difference is above ``TOLERANCE``.
    """
    differences = {}
    for name, spec in specs.items():
        inputs = spec.example(OTHER_SIZES, seed=1)
        with torch.no_grad():
            wanted = spec.layers(*inputs)
            computed = getattr(graphs, name)(*inputs)
        parts = [
            (a - b).abs().max() / b.abs().max()
            for a, b in zip(computed, wanted)
        ]
        differences[name] = float(torch.stack(parts).max())  # keeps NaN
        if not differences[name] <= TOLERANCE[precision]:
            raise CheckpointError(
                f'{name}: the graph differs from the network by '
                f'{differences[name]:.2g} of its largest value, more than '
                f'{TOLERANCE[precision]:g}; a layer of this network is not '
                'exported correctly. Use the torch backend.'
            )
    return differences


def _dynamic(
    axes: tuple[Axis, ...], symbols: Mapping[str, Any]
) -> dict[int, Any]:
    """The dynamic axes of a tensor, as ``torch.onnx.export`` expects them."""
    dynamic = {}
    for number, axis in enumerate(axes):
        if isinstance(axis, str):
            factor, _, symbol = axis.rpartition('*')
            dim = symbols[symbol]
            dynamic[number] = int(factor) * dim if factor else dim
    return dynamic


def _tidy(model: Any, spec: GraphSpec) -> None:
    """Name the dynamic axes, and strip the exporter's metadata.

    The metadata contain paths of source files.
    """
    graph = model.graph
    for value, axes in zip(
        [*graph.input, *graph.output],
        [*spec.inputs.values(), *spec.outputs.values()],
    ):
        for dim, axis in zip(value.type.tensor_type.shape.dim, axes):
            if isinstance(axis, str):
                dim.dim_param = axis
    del graph.value_info[:]
    del model.metadata_props[:]
    for part in (graph, *graph.node, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ''
    for tensor in graph.initializer:
        del tensor.metadata_props[:]


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Put the cache of torch's compiler into a subfolder of ``folder``.

    The compiler creates its cache folder on import; by default in the
    system's folder for temporary files, where it would be left behind.
    """
    before = os.environ.get(CACHE)
    os.environ[CACHE] = str(folder / 'cache')
    try:
        yield
    finally:
        del os.environ[CACHE]
        if before is not None:
            os.environ[CACHE] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's log and warnings (about torchvision, mostly)."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
