"""Quartet attention as it is drawn: permute, pool, convolve, gate, permute.

``PermutingQuartet`` is also what ``benchmarks/attention.py`` compares with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lungdet.models import AttentionPlugin


class _Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm3d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        top = x.max(1, keepdim=True)[0]
        maps = torch.cat([top, x.mean(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.bn(self.conv(maps)))


class PermutingQuartet(AttentionPlugin):
    """Swap C with each axis in turn, gate, swap back, average."""

    name = 'permuting_quartet'
    pools_over_space = True

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_Branch() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        gated = [
            branch(x.transpose(1, axis).contiguous()).transpose(1, axis)
            for axis, branch in enumerate(self.branches, start=1)
        ]
        return (gated[0] + gated[1] + gated[2] + gated[3]) / 4
