"""The program that writes the ONNX files; ``write_graphs`` starts it.

torch's exporter leaves its process in a state in which Python 3.11 may crash
later, so it gets one of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from lungdet.deploy.graph_specs import TRACED, Axis, GraphSpec


def main() -> None:
    """Write the graphs of a file of ``GraphSpec`` into a folder."""
    specs, folder = Path(sys.argv[1]), Path(sys.argv[2])
    # our own file, written a moment ago: it holds layers, not only weights
    for name, spec in torch.load(specs, weights_only=False).items():
        write_graph(spec, folder / f'{name}.onnx')


def write_graph(spec: GraphSpec, path: Path) -> None:
    """Write a graph, its weights included, checked by the ONNX library."""
    import onnx

    symbols = {name: Dim(name) for name in TRACED}
    with torch.no_grad():
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


def _dynamic(
    axes: tuple[Axis, ...], symbols: Mapping[str, Any]
) -> dict[int, Any]:
    """What torch is told of the axes that a run may choose."""
    dynamic = {}
    for number, axis in enumerate(axes):
        if isinstance(axis, str):
            factor, _, symbol = axis.rpartition('*')
            dim = symbols[symbol]
            dynamic[number] = int(factor) * dim if factor else dim
    return dynamic


def _tidy(model: Any, spec: GraphSpec) -> None:
    """Give axes their names, and take out torch's notes.

    These hold the path of every source file.
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


if __name__ == '__main__':
    main()
