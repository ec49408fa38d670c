"""Quartet attention: a gate along each of the axes C, D, H and W."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import MapGate, wide_type
from lungdet.registry import MODELS

AXES = 'CDHW'  # order of the branches
# axes of a branch's stored kernel: C replaces the pooled axis, as in the
# implementation that permutes the tensor, so that its checkpoints load
KERNEL_AXES = {'C': 'DHW', 'D': 'CHW', 'H': 'DCW', 'W': 'DHC'}
DIMS = (1, 2, 3, 4)


@MODELS.register_module()
class QuartetAttention(AttentionPlugin):
    """Scale each value by the mean of four gates, one for each axis.

    A branch takes maximum and mean along its axis, convolves the two maps,
    normalizes, and gates: ``x * (g_C + g_D + g_H + g_W) / 4``. The tensor is
    never permuted; axes are visited in memory order.

    Args:
        in_channels: Channels; the 2,752 parameters do not depend on it.
        conv_method: Method of the convolutions, see ``lungdet.ops.map_conv``.
        identity_start: Start as the identity, for a network that is
            trained already; else the gates start near 0.5.

    Shape:
        (N, C, D, H, W) -> the same.

    Raises:
        ConfigError: Unknown ``conv_method``.

    Source: triplet attention (Misra et al. 2021), with a fourth axis.
    """

    name = 'quartet_attention'
    pools_over_space = True
    changes_no_number = ('conv_method',)

    def __init__(
        self,
        in_channels: int,
        conv_method: str = 'auto',
        *,
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        self.branches: Any = nn.ModuleList(
            MapGate(conv_method, identity_start=identity_start) for _ in AXES
        )

    def init_weights(self) -> None:
        for branch in self.branches:
            branch.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        order = _memory_order(x)
        dims = [AXES.index(axis) + 1 for axis in order]
        with torch.autocast(x.device.type, enabled=False):
            out = self._attend(x.permute(0, *dims), order)
        inverse = [order.index(axis) + 1 for axis in AXES]
        return out.to(x.dtype).permute(0, *inverse)

    def _attend(self, x: Tensor, order: str) -> Tensor:
        """Pool, gate and multiply a tensor with its axes in ``order``."""
        # plain operations where the custom backward pass cannot be traced, and
        # on GPUs, where it was not measured
        custom = x.device.type == 'cpu' and not torch.compiler.is_compiling()
        if custom:
            x, *maps = _AxisPool.apply(x.to(wide_type(x)))
        else:
            maps = [_pooled(x, dim) for dim in DIMS]
        gates = [
            self._gate(pooled, axis, order).squeeze(1).unsqueeze(dim)
            for dim, axis, pooled in zip(DIMS, order, maps)
        ]
        if custom:
            return _AxisGate.apply(x, *gates)
        return x * _mean_gate(gates)

    def _gate(self, maps: Tensor, axis: str, order: str) -> Tensor:
        stored = KERNEL_AXES[axis]
        kernel_axes = [stored.index(other) for other in order if other != axis]
        return self.branches[AXES.index(axis)](maps, kernel_axes)


def _memory_order(x: Tensor) -> str:
    """Axes in memory order: treating a channels-last tensor as contiguous
    takes four times as long."""
    last = x.is_contiguous(memory_format=torch.channels_last_3d)
    return 'DHWC' if last and not x.is_contiguous() else AXES


def _pooled(x: Tensor, dim: int) -> Tensor:
    """Maximum and mean along ``dim`` as two channels."""
    mean = x.mean(dim, dtype=wide_type(x))
    return torch.stack([x.amax(dim).to(mean.dtype), mean], dim=1)


def _mean_gate(gates: Sequence[Tensor]) -> Tensor:
    """Mean of four gates, each of length 1 along another axis."""
    first, second, third, last = (gate / 4 for gate in gates)
    return first.add(last).add_(second).add_(third)


class _AxisPool(torch.autograd.Function):
    """``x`` itself and its maps along every axis.

    It keeps only ``x`` and the small maps. Tied maxima share the gradient, as
    in amax (after a ReLU many are tied at 0).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        maps = [_pooled(x, dim) for dim in DIMS]
        ctx.save_for_backward(x, *maps)
        return x, *maps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *grad_maps: Tensor) -> Tensor:
        x, *maps = ctx.saved_tensors
        is_top = torch.empty_like(x)
        # in place: grad is the tensor that _AxisGate made, used nowhere else
        for dim, pooled, grad_map in zip(DIMS, maps, grad_maps):
            torch.eq(x, pooled[:, 0].unsqueeze(dim), out=is_top)
            ties = is_top.sum(dim, keepdim=True)
            grad_top, grad_mean = grad_map.unsqueeze(dim + 1).unbind(1)
            grad.addcmul_(is_top, grad_top / ties)
            grad.add_(grad_mean, alpha=1 / x.shape[dim])
        return grad


class _AxisGate(torch.autograd.Function):
    """``x`` times the mean gate, which is recomputed in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *gates: Tensor) -> Tensor:
        ctx.save_for_backward(x, *gates)
        return _mean_gate(gates).mul_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, *gates = ctx.saved_tensors
        product = x * grad
        grad_gates = [product.sum(dim, keepdim=True) / 4 for dim in DIMS]
        del product  # as large as x, and so is the next line's
        return _mean_gate(gates).mul_(grad), *grad_gates
