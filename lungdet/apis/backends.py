"""What computes the layers of a detector: torch or another runtime."""

from __future__ import annotations

from typing import Any

from lungdet.apis.precision import PRECISIONS, Arithmetic, choose_arithmetic
from lungdet.errors import ConfigError
from lungdet.ops import computes_bfloat16

BACKENDS = ('torch', 'onnxruntime', 'openvino')


def check_backend(backend: str, device: str) -> None:
    """Refuse a backend that cannot run here, before weights are read.

    Raises:
        ConfigError: An unknown one, one whose libraries are missing, or one
            that does not run on the device.
    """
    if backend not in BACKENDS:
        raise ConfigError(
            f'backend: {backend!r}; choose {", ".join(BACKENDS)}.'
        )
    if backend == 'torch':
        return
    if device not in ('auto', 'cpu'):
        raise ConfigError(
            f'backend: {backend} runs on the CPU, not on {device}; leave out '
            'one of the two.'
        )
    from lungdet.deploy import require

    require(backend)


def set_backend(
    model: Any, device: str, backend: str, precision: str
) -> tuple[Any, Arithmetic]:
    """A detector as a backend runs it.

    Args:
        model: In evaluation mode, on the device.
        device: Where it is.
        backend: One of ``BACKENDS``. All but torch convert the detector, each
            time anew.
        precision: One of ``PRECISIONS``. ``'auto'`` is what
            ``choose_arithmetic`` takes in torch, and float32 elsewhere.

    Returns:
        The detector that runs, and how it computes; other backends choose
        their memory format themselves.

    Raises:
        ConfigError: As ``choose_arithmetic``, or the backend lacks the
            precision.
        CheckpointError: The conversion is not faithful.
    """
    if backend == 'torch':
        return model, choose_arithmetic(model, device, precision)
    if precision not in PRECISIONS:
        raise ConfigError(
            f'precision: {precision!r}; choose {", ".join(PRECISIONS)}.'
        )
    if precision == 'bf16' and not computes_bfloat16('cpu'):
        raise ConfigError(
            'precision: bf16, but this CPU has no bfloat16; choose auto or '
            'fp32.'
        )
    from lungdet.deploy import graph_detector

    taken = 'bf16' if precision == 'bf16' else 'fp32'
    return graph_detector(model, backend, taken), Arithmetic(taken, None)
