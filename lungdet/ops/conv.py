"""Same-size convolution of a map with few channels to one channel.

torch's CPU kernels have no fast path for one or two channels: a 7x7x7
convolution of a 64^3 map takes 70 ms forward and 300 ms backward where the
FFT takes 10 and 12. There are three methods for the same sum;
``benchmarks/attention.py --conv`` measures them.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lungdet.errors import ConfigError

OUTPUTS_PER_ROW = 16  # outputs of one folded row


def direct_conv(x: Tensor, weight: Tensor) -> Tensor:
    """torch's own convolution, see ``map_conv``.

    Args:
        x: (N, M, A, B, C).
        weight: (1, M, k, k, k), k odd.

    Returns:
        (N, 1, A, B, C).
    """
    return F.conv3d(x, weight, padding=weight.shape[-1] // 2)


def folded_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Blocks of the first axis as channels of a 2D convolution.

    A banded weight gives ``n = OUTPUTS_PER_ROW`` neighbouring outputs from
    the ``n + k - 1`` inputs that they need. This takes three times the
    multiplications, but runs at the full speed of a convolution with many
    channels. See ``map_conv``.

    Args:
        x: (N, M, A, B, C).
        weight: (1, M, k, k, k), k odd.

    Returns:
        (N, 1, A, B, C).
    """
    size, length = weight.shape[-1], x.shape[2]
    block = min(OUTPUTS_PER_ROW, length)
    blocks = -(-length // block)
    reach = block + size - 1
    front = size // 2
    back = front + blocks * block - length
    rows = F.pad(x, (0, 0, 0, 0, front, back)).unfold(2, reach, block)
    rows = rows.permute(0, 2, 1, 5, 3, 4).flatten(0, 1).flatten(1, 2)
    tap = (
        torch.arange(reach, device=x.device)
        - torch.arange(block, device=x.device)[:, None]
    )
    # taps outside the kernel read the zero appended to it
    tap = torch.where((tap >= 0) & (tap < size), tap, size)
    band = F.pad(weight[0], (0, 0, 0, 0, 0, 1))[:, tap]
    band = band.transpose(0, 1).flatten(1, 2)
    out = F.conv2d(rows, band, padding=front)
    return out.reshape(len(x), 1, -1, *x.shape[3:])[:, :, :length]


def fft_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Product of spectra, single and double precision.

    Rounding is relative to the largest value of the map. Not differentiable
    twice. See ``map_conv``.

    Args:
        x: (N, M, A, B, C), single or double precision.
        weight: (1, M, k, k, k), k odd.

    Returns:
        (N, 1, A, B, C).
    """
    return _FFTConv.apply(x, weight)


METHODS = {'direct': direct_conv, 'fold': folded_conv, 'fft': fft_conv}


def map_conv(x: Tensor, weight: Tensor, method: str = 'auto') -> Tensor:
    """Convolve a map to one channel, stride 1, with zeros around it.

    Args:
        x: (N, M, A, B, C), M a few channels.
        weight: (1, M, k, k, k), k odd.
        method: ``'direct'``, ``'fold'``, ``'fft'``, or ``'auto'``: the one
            measured as fastest on the map's device. All give the same
            numbers up to rounding.

    Returns:
        (N, 1, A, B, C).

    Raises:
        ConfigError: No such method.

    Examples:
        >>> x = torch.arange(4.).view(1, 1, 1, 1, 4)
        >>> weight = torch.ones(1, 1, 3, 3, 3)
        >>> map_conv(x, weight, 'direct').flatten().tolist()
        [1.0, 3.0, 6.0, 5.0]
        >>> torch.allclose(map_conv(x, weight), map_conv(x, weight, 'fold'))
        True
    """
    check_conv_method(method)
    if method == 'auto':
        method = _fastest_method(x)
    return METHODS[method](x, weight)


def check_conv_method(method: str) -> None:
    """Check a method of ``map_conv``.

    Raises:
        ConfigError: ``map_conv`` has no such method.

    Examples:
        >>> check_conv_method('fft')
    """
    if method != 'auto' and method not in METHODS:
        raise ConfigError(
            f'conv_method: {method!r} is unknown; choose one of '
            f'{("auto", *METHODS)}. All give the same numbers.'
        )


def _fastest_method(x: Tensor) -> str:
    """The FFT on CPUs; compiled code and GPUs have fast kernels."""
    if torch.compiler.is_compiling() or x.device.type != 'cpu':
        return 'direct'
    return 'fft' if x.dtype in (torch.float32, torch.float64) else 'direct'


class _FFTConv(torch.autograd.Function):
    """The period of each axis covers the length + k // 2 and the kernel, so
    what wraps around affects only the first k // 2 values, which are
    dropped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        size, lengths = weight.shape[-1], x.shape[2:]
        half = size // 2
        period = [
            next_fast_len(max(side + half, size), real=True)
            for side in lengths
        ]
        maps = torch.fft.rfftn(x, period, dim=(2, 3, 4))
        kernel = torch.fft.rfftn(weight.flip(2, 3, 4), period, dim=(2, 3, 4))
        ctx.save_for_backward(maps, kernel)
        ctx.period, ctx.lengths, ctx.size = period, lengths, size
        product = (maps * kernel).sum(1, keepdim=True)
        out = torch.fft.irfftn(product, period, dim=(2, 3, 4))
        a, b, c = (slice(half, half + side) for side in lengths)
        return out[:, :, a, b, c].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        maps, kernel = ctx.saved_tensors
        period, size = ctx.period, ctx.size
        padded = F.pad(grad, (size // 2, 0) * 3)
        spectrum = torch.fft.rfftn(padded, period, dim=(2, 3, 4))
        grad_x = torch.fft.irfftn(
            spectrum * kernel.conj(), period, dim=(2, 3, 4)
        )
        a, b, c = (slice(side) for side in ctx.lengths)
        lags = (spectrum * maps.conj()).sum(0, keepdim=True)
        grad_weight = torch.fft.irfftn(lags, period, dim=(2, 3, 4))
        grad_weight = grad_weight[:, :, :size, :size, :size].flip(2, 3, 4)
        return grad_x[:, :, a, b, c], grad_weight
