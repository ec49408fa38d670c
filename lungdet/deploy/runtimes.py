"""Runtimes that run ONNX graphs, as functions from tensors to tensors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lungdet.errors import ConfigError
from lungdet.models.detectors.graph_detector import Graph, Graphs

EXTRAS = {
    'onnxruntime': ('onnx', ('onnx', 'onnxscript', 'onnxruntime')),
    'openvino': ('openvino', ('onnx', 'onnxscript', 'openvino')),
}
TELEMETRY = 'openvino_telemetry'


def require(runtime: str) -> None:
    """Refuse a runtime whose libraries are missing.

    Raises:
        ConfigError: Names the extra that has them.
    """
    extra, libraries = EXTRAS[runtime]
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'{runtime}: needs {" and ".join(missing)}, not installed; pip '
            f"install 'lungdet[{extra}]'."
        )


def open_graphs(
    files: Mapping[str, Path], runtime: str, precision: str = 'fp32'
) -> Graphs:
    """Load graphs into a runtime, on as many threads as torch uses.

    Args:
        files: By the names in ``graph_specs``.
        runtime: One of ``RUNTIMES``.
        precision: ``'fp32'`` or ``'bf16'``; what goes in and comes out is
            float32.
    """
    opened = RUNTIMES[runtime]
    return Graphs(
        **{name: opened(path, precision) for name, path in files.items()}
    )


def open_onnxruntime(path: Path, precision: str) -> Graph:
    """A graph in ONNX Runtime, whose CPU kernels compute in float32.

    Raises:
        ConfigError: Another precision.
    """
    import onnxruntime

    # the builds for Windows report to Microsoft that they are used
    onnxruntime.disable_telemetry_events()
    if precision != 'fp32':
        raise ConfigError(
            f'precision: {precision}, but ONNX Runtime computes in fp32 on '
            'CPUs; choose auto or fp32, or the backend torch or openvino.'
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # a thread that waits would take the time of one that works
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    session = onnxruntime.InferenceSession(
        path, options, providers=['CPUExecutionProvider']
    )
    names = [value.name for value in session.get_inputs()]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = (tensor.contiguous().numpy() for tensor in tensors)
        outputs = session.run(None, dict(zip(names, arrays)))
        return tuple(map(torch.from_numpy, outputs))

    return run


def open_openvino(path: Path, precision: str) -> Graph:
    """A graph in OpenVINO."""
    core = _openvino_core()
    compiled = core.compile_model(
        core.read_model(path),
        'CPU',
        {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
            # its default is bfloat16 where the CPU has it
            'INFERENCE_PRECISION_HINT': {'fp32': 'f32', 'bf16': 'bf16'}[
                precision
            ],
        },
    )

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        outputs = compiled([t.contiguous().numpy() for t in tensors])
        return tuple(torch.from_numpy(v) for v in outputs.to_tuple())

    return run


@cache
def _openvino_core() -> Any:
    """The one of this process, which is never removed.

    Each sets a stack for signal handlers and, removed, puts back that of the
    one before it, which may be gone: the next signal then ends the process.
    """
    return _openvino().Core()


def _openvino() -> ModuleType:
    """OpenVINO without its telemetry.

    Importing it would report the import to Google Analytics, unasked. Where
    openvino_telemetry cannot be imported, it has a stub that does nothing.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore
    blocked = modules.setdefault(TELEMETRY, None) is None
    try:
        return import_module('openvino')
    finally:
        if blocked:
            del modules[TELEMETRY]


RUNTIMES: dict[str, Callable[[Path, str], Graph]] = {
    'onnxruntime': open_onnxruntime,
    'openvino': open_openvino,
}
