"""bfloat16 where the processor computes in it."""

from __future__ import annotations

import warnings

import torch


def computes_bfloat16(device_type: str) -> bool:
    """Whether a device has bfloat16 arithmetic.

    A CPU without it emulates: convolutions in 3D then take the plain loops,
    hundreds of times slower than float32.
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
        device_type: ``'cpu'`` or ``'cuda'``.
        enabled: False leaves float32 without a word.
    """
    if enabled and not computes_bfloat16(device_type):
        warnings.warn(
            f'this {device_type} has no bfloat16 arithmetic; float32 is used '
            'instead',
            stacklevel=2,
        )
        enabled = False
    return torch.autocast(device_type, torch.bfloat16, enabled=enabled)
