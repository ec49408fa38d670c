"""ONNX files: written by torch's exporter, compared with torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lungdet.deploy.graph_specs import GraphSpec
from lungdet.errors import CheckpointError
from lungdet.models.detectors.graph_detector import Graphs

EXPORTER = 'lungdet.deploy.graph_exporter'
# largest difference from torch, as a part of an output's largest value
TOLERANCE = {'fp32': 1e-4, 'bf16': 5e-2}
OTHER_SIZES = {'batch': 1, 'rois': 2, 'd': 2, 'h': 3, 'w': 2}  # not traced


def write_graphs(
    specs: Mapping[str, GraphSpec], folder: Path
) -> dict[str, Path]:
    """Write each graph as ``NAME.onnx``, by a process of its own.

    Args:
        specs: By name.
        folder: Is there.

    Raises:
        CheckpointError: The exporter failed.
    """
    with TemporaryDirectory(prefix='lungdet-') as scratch:
        layers = Path(scratch, 'specs.pt')
        torch.save(dict(specs), layers)
        done = subprocess.run(
            [sys.executable, '-m', EXPORTER, str(layers), str(folder)],
            env={
                **os.environ,
                'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
                'TORCHINDUCTOR_CACHE_DIR': scratch,
            },
            capture_output=True,
            text=True,
            errors='replace',
        )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ['']
        raise CheckpointError(
            f'the graphs are not written: the exporter ended with code '
            f'{done.returncode} ({said[-1]}). Use the backend torch.'
        )
    return {name: folder / f'{name}.onnx' for name in specs}


def compare_graphs(
    specs: Mapping[str, GraphSpec], graphs: Graphs, precision: str = 'fp32'
) -> dict[str, float]:
    """Run graphs on random tensors, of sizes that they were not traced with.

    Args:
        specs: What they should compute.
        graphs: In a runtime.
        precision: Of the runtime.

    Returns:
        For each graph the largest difference, as a part of the output's
        largest value.

    Raises:
        CheckpointError: It is above ``TOLERANCE``.
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
        differences[name] = float(torch.stack(parts).max())  # NaN stays
        if not differences[name] <= TOLERANCE[precision]:
            raise CheckpointError(
                f'{name}: the graph differs from the network by '
                f'{differences[name]:.2g} of its largest value, more than '
                f'{TOLERANCE[precision]:g}; a layer of this network is not '
                'exported faithfully. Use the backend torch.'
            )
    return differences
