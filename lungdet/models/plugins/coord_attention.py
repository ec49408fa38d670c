"""Coordinate attention: gates along D, H and W."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import (
    SPACE,
    gate,
    hidden_channels,
    in_float32,
)
from lungdet.registry import MODELS


@MODELS.register_module()
class CoordAttention3D(AttentionPlugin):
    """Scale by three gates, each along one axis, from the axes' profiles.

    Args:
        in_channels: C.
        ratio: Channels over hidden width m.
        min_hidden: Lower bound of m.
        identity_start: Start as the identity, for a network that is
            trained already; else three gates of 0.5 start near 0.125.

    Shape:
        (N, C, D, H, W) -> the same; C m + 3 m + 3 (m C + C) parameters.

    Source: Hou et al. 2021, section 3.2, with a third axis.
    """

    name = 'coord_attention'
    pools_over_space = True
    zero_at_start = ('expand.0', 'expand.1', 'expand.2')

    def __init__(
        self,
        in_channels: int,
        ratio: int = 32,
        *,
        min_hidden: int = 8,
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden_channels(in_channels, ratio, min_hidden)
        self.squeeze = nn.Conv1d(in_channels, hidden, 1)
        self.bn = nn.BatchNorm1d(hidden)
        self.expand = nn.ModuleList(
            nn.Conv1d(hidden, in_channels, 1) for _ in SPACE
        )
        self.identity_start = identity_start
        self.init_weights()

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        profiles = torch.cat(
            [x.mean((3, 4)), x.mean((2, 4)), x.mean((2, 3))], dim=2
        )
        hidden = F.hardswish(self.bn(self.squeeze(profiles)))
        along_d, along_h, along_w = (
            gate(layer(part), identity_start=self.identity_start)
            for layer, part in zip(self.expand, hidden.split(x.shape[2:], 2))
        )
        x = x * along_d[:, :, :, None, None] * along_h[:, :, None, :, None]
        return x * along_w[:, :, None, None, :]
