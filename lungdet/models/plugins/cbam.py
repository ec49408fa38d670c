"""CBAM: a channel gate, then a spatial gate."""

from __future__ import annotations

import torch
from torch import Tensor

from lungdet.errors import ConfigError
from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import (
    SPACE,
    ChannelMLP,
    MapGate,
    gate,
    in_float32,
)
from lungdet.registry import MODELS


@MODELS.register_module()
class CBAM3D(AttentionPlugin):
    """Scale channels by a shared MLP of mean and maximum, then voxels.

    Args:
        in_channels: C.
        ratio: Channels over the MLP's hidden width.
        min_hidden: Lower bound of that width.
        sigmoid: ``'after'`` the MLP's two outputs are summed, the original;
            ``'before'``, the form of some printed equations: a gate in
            (0, 2), near 1 at the start.
        norm: Batch norm in the spatial gate.
        conv_method: Method of its convolution, see ``lungdet.ops.map_conv``.
        identity_start: Start as the identity, for a network that is trained
            already; else the gates start near 0.25 (``'before'``: 0.5).

    Shape:
        (N, C, D, H, W) -> the same.

    Raises:
        ConfigError: Unknown ``sigmoid`` or ``conv_method``.

    Source: Woo et al. 2018, equations 1 to 3, in 3D.
    """

    name = 'cbam'
    pools_over_space = True
    zero_at_start = ('mlp.2',)
    changes_no_number = ('conv_method',)

    def __init__(
        self,
        in_channels: int,
        ratio: int = 16,
        *,
        min_hidden: int = 1,
        sigmoid: str = 'after',
        norm: bool = True,
        conv_method: str = 'auto',
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        if sigmoid not in ('after', 'before'):
            raise ConfigError(
                f"CBAM3D: sigmoid={sigmoid!r} is unknown; choose 'after' "
                "(the original) or 'before' (a gate from each output)."
            )
        self.sigmoid = sigmoid
        self.mlp = ChannelMLP(in_channels, ratio, min_hidden=min_hidden)
        self.spatial = MapGate(
            conv_method, norm=norm, identity_start=identity_start
        )
        self.identity_start = identity_start
        self.init_weights()

    def init_weights(self) -> None:
        super().init_weights()
        self.spatial.init_weights()

    def channel_gate(self, x: Tensor) -> Tensor:
        """(N, C) from (N, C, D, H, W)."""
        mean, top = self.mlp(x.mean(SPACE)), self.mlp(x.amax(SPACE))
        if self.sigmoid == 'before':
            return torch.sigmoid(mean) + torch.sigmoid(top)
        return gate(mean + top, identity_start=self.identity_start)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        x = x * self.channel_gate(x)[:, :, None, None, None]
        maps = torch.stack([x.amax(1), x.mean(1)], dim=1)
        return x * self.spatial(maps)
