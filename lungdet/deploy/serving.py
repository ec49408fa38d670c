"""A loaded detector whose layers are computed by another runtime."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lungdet.deploy.graph_files import compare_graphs, write_graphs
from lungdet.deploy.graph_specs import graph_specs
from lungdet.deploy.runtimes import open_graphs, require
from lungdet.models.detectors.graph_detector import GraphDetector


def graph_detector(
    net: Any, runtime: str, precision: str = 'fp32'
) -> GraphDetector:
    """Convert a network to ONNX and load it into a runtime.

    The ONNX files are temporary.

    Args:
        net: A NoduleNet in evaluation mode, on the CPU.
        runtime: One of ``RUNTIMES``.
        precision: ``'fp32'`` or ``'bf16'``.

    Raises:
        ConfigError: A library is missing, the runtime lacks the precision, or
            the detector is not a NoduleNet.
        CheckpointError: The output of a graph differs from the network's.
    """
    require(runtime)
    specs = graph_specs(net)
    with TemporaryDirectory(prefix='lungdet-') as folder:
        files = write_graphs(specs, Path(folder))
        graphs = open_graphs(files, runtime, precision)
    compare_graphs(specs, graphs, precision)
    return GraphDetector(net, graphs)
