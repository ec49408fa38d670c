"""SimAM: a gate for each voxel, without parameters."""

from __future__ import annotations

from torch import Tensor

from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import SPACE, in_float32
from lungdet.registry import MODELS


@MODELS.register_module()
class SimAM3D(AttentionPlugin):
    """Scale each voxel by its distance from the channel's mean.

    Args:
        in_channels: Not used.
        e_lambda: Added to the variance.

    Shape:
        (N, C, D, H, W) -> the same; no parameters. Gates lie in (0.62, 1).

    Source: Yang et al. 2021, equation 5, in 3D.
    """

    name = 'simam'
    pools_over_space = True

    def __init__(self, in_channels: int, e_lambda: float = 1e-4) -> None:
        super().__init__()
        self.e_lambda = e_lambda

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        square = (x - x.mean(SPACE, keepdim=True)).square()
        others = max(x[0, 0].numel() - 1, 1)
        variance = square.sum(SPACE, keepdim=True) / others
        energy = square / (4 * (variance + self.e_lambda)) + 0.5
        return x * energy.sigmoid()
