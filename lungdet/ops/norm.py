"""Batch norm of narrow channels-last maps on CPUs.

The threads of torch's backward kernel keep their sums side by side. Unless
the channels fill whole cache lines, two threads write to one line and wait
for each other: they are slower than a single thread. ``benchmarks/run.py``
measures both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHANNELS_LAST = torch.channels_last_3d
CACHE_LINE = 16  # float32 values
WIDE = 32  # channels from which torch's kernel is faster anyway


class BatchNorm3d(nn.BatchNorm3d):
    """torch's batch norm, with its own backward pass where torch's is slow.

    Arguments and state dict are torch's, and so are the results, up to
    rounding. Not differentiable twice.

    Shape:
        (N, C, D, H, W) -> the same.

    Examples:
        >>> x = torch.rand(2, 8, 4, 3, 2)
        >>> torch.equal(BatchNorm3d(8)(x), nn.BatchNorm3d(8)(x))
        True
    """

    num_batches_tracked: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self._is_plain and _shares_lines(x)):
            return super().forward(x)
        self.num_batches_tracked += 1
        return _RowNorm.apply(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.momentum,
            self.eps,
        )

    @property
    def _is_plain(self) -> bool:
        return (
            self.affine
            and self.track_running_stats
            and self.momentum is not None
        )


def _shares_lines(x: Tensor) -> bool:
    """Whether threads of torch's kernel would write to one cache line."""
    return (
        x.device.type == 'cpu'
        and not torch.compiler.is_compiling()
        and torch.get_num_threads() > 1
        and x.shape[1] < WIDE
        and x.shape[1] % CACHE_LINE > 0
        and x.is_contiguous(memory_format=CHANNELS_LAST)
        and not x.is_contiguous()
    )


class _RowNorm(torch.autograd.Function):
    """torch's forward; backward over rows of W x C neighbours in memory."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        out, batch_mean, inverse_std = torch.native_batch_norm(
            x, weight, bias, mean, var, True, momentum, eps
        )
        ctx.save_for_backward(x, weight, batch_mean, inverse_std)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std = ctx.saved_tensors
        width, channels = x.shape[4], x.shape[1]
        count = x.numel() // channels
        grad_rows = _rows(grad.contiguous(memory_format=CHANNELS_LAST))
        normed = torch.addcmul(
            (-mean * inverse_std).repeat(width),
            _rows(x),
            inverse_std.repeat(width),
        )
        grad_bias = _sum_by_channel(grad_rows, channels)
        grad_weight = _sum_by_channel(grad_rows * normed, channels)
        scale = weight * inverse_std
        grad_x = normed.mul_((-scale * grad_weight / count).repeat(width))
        grad_x.add_((-scale * grad_bias / count).repeat(width))
        grad_x.addcmul_(grad_rows, scale.repeat(width))
        shape = [*x.permute(0, 2, 3, 4, 1).shape]
        grad_x = grad_x.to(x.dtype).view(shape).permute(0, 4, 1, 2, 3)
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _rows(x: Tensor) -> Tensor:
    """(N, C, D, H, W) as (N D H, W C) in single precision or better."""
    n, c, d, h, w = x.shape
    rows = x.permute(0, 2, 3, 4, 1).reshape(n * d * h, w * c)
    return rows.to(torch.promote_types(x.dtype, torch.float32))


def _sum_by_channel(rows: Tensor, channels: int) -> Tensor:
    return rows.sum(0).view(-1, channels).sum(0)
