"""Shared parts of plugins: precision, an MLP of channels, gates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.model import constant_init
from torch import Tensor, nn

from lungdet.ops import check_conv_method, map_conv

SPACE = (2, 3, 4)  # D, H, W of (N, C, D, H, W)


def wide_type(x: Tensor) -> torch.dtype:
    """The type to compute in: float32 for half precision, else the input's."""
    return torch.promote_types(x.dtype, torch.float32)


def in_float32(forward: Callable[[Any, Tensor], Tensor]) -> Callable:
    """Run a ``forward`` in float32, also under autocast.

    ``forward`` takes a plugin and its input (N, C, D, H, W). The output has
    the input's type. Sums over millions of voxels overflow float16 and exceed
    the precision of bfloat16.
    """

    @functools.wraps(forward)
    def wrapped(self: Any, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(self, x.to(wide_type(x))).to(x.dtype)

    return wrapped


def hidden_channels(in_channels: int, ratio: int, min_hidden: int) -> int:
    """Width of a bottleneck: channels over ``ratio``, at least
    ``min_hidden``."""
    return max(in_channels // ratio, min_hidden)


class ChannelMLP(nn.Sequential):
    """A bottleneck across channels: linear, ReLU, linear.

    Args:
        in_channels: C.
        ratio: Channels over hidden width.
        min_hidden: Lower bound of that width.
        norm: Layer norm before the ReLU.

    Shape:
        (N, C) -> (N, C).
    """

    def __init__(
        self,
        in_channels: int,
        ratio: int,
        *,
        min_hidden: int,
        norm: bool = False,
    ) -> None:
        hidden = hidden_channels(in_channels, ratio, min_hidden)
        super().__init__(
            nn.Linear(in_channels, hidden),
            *([nn.LayerNorm(hidden)] if norm else []),
            nn.ReLU(),
            nn.Linear(hidden, in_channels),
        )


def gate(logits: Tensor, *, identity_start: bool) -> Tensor:
    """Gates of logits of any shape, in (0, 1).

    Args:
        logits: (...).
        identity_start: Double the gates, so that logits of 0 give 1.
    """
    gates = torch.sigmoid(logits)
    return 2 * gates if identity_start else gates


class MapGate(nn.Module):
    """Gate from maximum and mean maps: 7x7x7 convolution, norm, sigmoid.

    Args:
        conv_method: See ``lungdet.ops.map_conv``.
        norm: Batch norm of the one channel.
        identity_start: Start with a gate of 1.

    Shape:
        (N, 2, A, B, C), maximum first -> (N, 1, A, B, C).
    """

    def __init__(
        self,
        conv_method: str = 'auto',
        *,
        norm: bool = True,
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        check_conv_method(conv_method)
        self.conv_method = conv_method
        self.conv = nn.Conv3d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm3d(1, momentum=0.01) if norm else None
        self.identity_start = identity_start
        self.init_weights()

    def init_weights(self) -> None:
        if self.identity_start:
            constant_init(self.bn or self.conv, 0)

    def forward(
        self, maps: Tensor, kernel_axes: Sequence[int] = (0, 1, 2)
    ) -> Tensor:
        """Gate of maps whose axes are those of the stored kernel, reordered.

        Args:
            maps: (N, 2, A, B, C).
            kernel_axes: Which axis of the stored kernel A, B and C are.
        """
        weight = self.conv.weight.permute(0, 1, *(a + 2 for a in kernel_axes))
        logits = map_conv(maps, weight, self.conv_method)
        if self.bn is not None:
            logits = self.bn(logits)
        return gate(logits, identity_start=self.identity_start)
