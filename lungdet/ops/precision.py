"""bfloat16 where the device supports it."""

from __future__ import annotations

import platform
import warnings

import torch

X86 = ('x86_64', 'AMD64')  # of Linux and macOS, of Windows


def computes_bfloat16(device_type: str) -> bool:
    """Whether a device has bfloat16 arithmetic.

    Others emulate it. On a CPU with AVX-512 alone, such as Intel's Skylake
    and Ice Lake, a training step then takes 2.4 times as long as in float32,
    though oneDNN calls bfloat16 supported; on one without AVX-512, 3D
    convolutions run as plain loops, hundreds of times slower than float32.

    Args:
        device_type: ``'cpu'``, ``'cuda'`` or another of torch's.
    """
    if device_type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != 'cpu':
        return True
    onednn = torch.backends.mkldnn.is_available()
    if not onednn or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine() not in X86:
        return True
    return bool(
        torch.cpu._is_avx512_bf16_supported()
        or torch.cpu._is_amx_tile_supported()
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
