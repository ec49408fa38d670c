"""bfloat16 where the device supports it."""

from __future__ import annotations

import warnings

import torch


def computes_bfloat16(device_type: str) -> bool:
    """Whether a device has bfloat16 arithmetic.

    A CPU without it emulates: 3D convolutions then run as plain loops,
    hundreds of times slower than float32.

    Args:
        device_type: ``'cpu'``, ``'cuda'`` or another of torch's.
    """
    if device_type == 'cuda':
        return torch.cuda.is_bf16_supported()
    return device_type != 'cpu' or bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def bfloat16_autocast(
    device_type: str, enabled: bool = True
) -> torch.autocast:
    """Autocast to bfloat16, or float32 with a warning where that is faster.

    Args:
        device_type: ``'cpu'``, ``'cuda'`` or another of torch's.
        enabled: False for float32, without a warning.

    Warns:
        UserWarning: The device has no bfloat16 arithmetic.

    Examples:
        >>> with bfloat16_autocast('cpu', enabled=False):
        ...     torch.nn.Linear(2, 3)(torch.ones(1, 2)).dtype
        torch.float32
    """
    if enabled and not computes_bfloat16(device_type):
        warnings.warn(
            f'this {device_type} has no bfloat16 arithmetic; float32 is used '
            'instead',
            stacklevel=2,
        )
        enabled = False
    return torch.autocast(device_type, torch.bfloat16, enabled=enabled)
