"""Plugins for the tests of blocks and backbones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lungdet.models import AttentionPlugin
from lungdet.registry import MODELS


@MODELS.register_module(force=True)
class AddOne(AttentionPlugin):
    name = 'add_one'
    pools_over_space = False

    def __init__(self, in_channels: int, amount: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((in_channels,), amount))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[:, None, None, None]


@MODELS.register_module(force=True)
class Halve(AttentionPlugin):
    name = 'halve'
    pools_over_space = False

    def __init__(self, in_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2]


@MODELS.register_module(force=True)
class SigmoidGate(AttentionPlugin):
    """Keeps its output for the backward pass."""

    name = 'sigmoid_gate'
    pools_over_space = False

    def __init__(self, in_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


@MODELS.register_module(force=True)
class StartsAtSeven(AttentionPlugin):
    name = 'seven'
    pools_over_space = False

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, in_channels, 1)
        self.init_weights()

    def init_weights(self) -> None:
        nn.init.constant_(self.conv.weight, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def plugin(position: str = 'after_conv2', **cfg: object) -> dict:
    """An entry of ``plugins`` with ``AddOne``."""
    return {'cfg': {'type': 'AddOne', **cfg}, 'position': position}
