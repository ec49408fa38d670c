"""SE: a gate for each channel, from the means of all."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import (
    SPACE,
    gate,
    hidden_channels,
    in_float32,
)
from lungdet.registry import MODELS


@MODELS.register_module()
class SE3D(AttentionPlugin):
    """Scale channels by a gate computed from their means.

    Args:
        in_channels: C.
        ratio: Channels over hidden width h.
        min_hidden: Lower bound of h; 2 units at 32 channels are too few.
        identity_start: Start as the identity, for a network that is
            trained already; else the gates start near 0.5.

    Shape:
        (N, C, D, H, W) -> the same; 2 C h + h + C parameters, in layers that
        stored weights call ``reduce`` and ``expand``.

    Source: Hu et al. 2018, section 3, with 3D pooling.
    """

    name = 'se'
    pools_over_space = True
    zero_at_start: ClassVar[tuple[str, ...]] = ('expand',)

    def __init__(
        self,
        in_channels: int,
        ratio: int = 16,
        *,
        min_hidden: int = 8,
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden_channels(in_channels, ratio, min_hidden)
        self.reduce = nn.Linear(in_channels, hidden)
        self.expand = nn.Linear(hidden, in_channels)
        self.identity_start = identity_start
        self.init_weights()

    def channel_logits(self, x: Tensor) -> Tensor:
        """(N, C) from (N, C, D, H, W)."""
        return self.expand(self.reduce(x.mean(SPACE)).relu())

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        logits = self.channel_logits(x)
        scale = gate(logits, identity_start=self.identity_start)
        return x * scale[:, :, None, None, None]
