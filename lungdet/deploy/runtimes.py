"""Runtimes for ONNX graphs; a loaded graph maps tensors to tensors."""

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
    """Check that the libraries of a runtime are installed.

    Args:
        runtime: One of ``RUNTIMES``.

    Raises:
        ConfigError: A library is missing; the message names the extra to
            install.
    """
    extra, libraries = EXTRAS[runtime]
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'{runtime}: needs {" and ".join(missing)}, not installed; run '
            f"pip install 'lungdet[{extra}]'."
        )


def open_graphs(
    files: Mapping[str, Path], runtime: str, precision: str = 'fp32'
) -> Graphs:
    """Load graphs into a runtime, which gets as many threads as torch.

    Args:
        files: ONNX file of each graph, by the names of ``graph_specs``.
        runtime: One of ``RUNTIMES``.
        precision: ``'fp32'`` or ``'bf16'``; inputs and outputs are float32
            in both cases.

    Raises:
        ConfigError: The runtime lacks the precision.
    """
    opened = RUNTIMES[runtime]
    return Graphs(
        **{name: opened(path, precision) for name, path in files.items()}
    )


def open_onnxruntime(path: Path, precision: str) -> Graph:
    """Load a graph into ONNX Runtime, whose CPU kernels compute in float32.

    Raises:
        ConfigError: The precision is not ``'fp32'``.
    """
    import onnxruntime

    # builds for Windows send telemetry to Microsoft
    onnxruntime.disable_telemetry_events()
    if precision != 'fp32':
        raise ConfigError(
            f'precision: {precision}, but ONNX Runtime computes in fp32 on '
            'CPUs; choose auto or fp32, or the torch or openvino backend.'
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # spinning threads would take processor time from working ones
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
    """Load a graph into OpenVINO."""
    core = _openvino_core()
    compiled = core.compile_model(
        core.read_model(path),
        'CPU',
        {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
            # the default is bfloat16 if the CPU supports it
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
    """The only OpenVINO core of this process; it is never destroyed.

    A core installs an alternate stack for signal handlers. On destruction it
    restores the stack that was installed before it, which may have been freed
    by then; the next signal would crash the process.
    """
    return _openvino().Core()


def _openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    By default each import is reported to Google Analytics. If
    openvino_telemetry cannot be imported, OpenVINO uses a stub that sends
    nothing.
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
