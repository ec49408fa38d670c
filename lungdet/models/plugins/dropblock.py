"""DropBlock: dropout of whole cubes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import in_float32
from lungdet.registry import MODELS


@MODELS.register_module()
class DropBlock3D(AttentionPlugin):
    """Zero random cubes in training; the identity in evaluation.

    Args:
        in_channels: Not used.
        drop_prob: Fraction of voxels to drop after the ramp.
        block_size: Side of the cubes; cut to the map's shortest side.
        ramp: Training steps over which the fraction grows linearly from 0; 0
            for no ramp.

    Shape:
        (N, C, D, H, W) -> the same; no parameters, a counter of steps.

    Source: Ghiasi et al. 2018, algorithm 1 and section 3.3, in 3D.
    """

    name = 'drop_block'
    pools_over_space = False
    starts_as_identity = True
    steps: Tensor

    def __init__(
        self,
        in_channels: int,
        drop_prob: float = 0.1,
        *,
        block_size: int = 3,
        ramp: int = 5000,
    ) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.block_size = block_size
        self.ramp = ramp
        self.register_buffer('steps', torch.tensor(0))

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        ramp = (self.steps / self.ramp).clamp(max=1) if self.ramp else 1.0
        prob = self.drop_prob * ramp
        self.steps += 1
        side = min(self.block_size, *x.shape[2:])
        # corners of cubes, at a rate that drops a fraction prob of all voxels
        inside = [length - side + 1 for length in x.shape[2:]]
        corners = x.new_empty(*x.shape[:2], *inside)
        rate = prob * x[0, 0].numel() / corners[0, 0].numel() / side**3
        corners = (torch.rand_like(corners) < rate).to(x.dtype)
        cubes = F.max_pool3d(F.pad(corners, (side - 1,) * 6), side, stride=1)
        keep = 1 - cubes
        return x * keep * (keep.numel() / keep.sum().clamp(min=1))
