"""scSE: a gate for each channel and one for each voxel, summed."""

from __future__ import annotations

from torch import Tensor, nn

from lungdet.models.plugins.gate_parts import in_float32
from lungdet.models.plugins.se import SE3D
from lungdet.registry import MODELS


@MODELS.register_module()
class SCSE3D(SE3D):
    """Sum of a channel gate and a gate computed at each voxel.

    Args:
        in_channels: C.
        ratio: Channels over hidden width h.
        min_hidden: Lower bound of h.
        identity_start: Start as the identity, for a network that is
            trained already; else the two gates start near 0.5 each.

    Shape:
        (N, C, D, H, W) -> the same; 2 C h + h + 2 C + 1 parameters.

    Source: Roy et al. 2018, scSE in its sum form, in 3D.
    """

    name = 'scse'
    zero_at_start = ('expand', 'spatial')  # two gates of 0.5 sum to 1

    def __init__(
        self,
        in_channels: int,
        ratio: int = 2,
        *,
        min_hidden: int = 1,
        identity_start: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            ratio,
            min_hidden=min_hidden,
            identity_start=identity_start,
        )
        self.spatial = nn.Conv3d(in_channels, 1, 1)
        self.init_weights()

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        channel = self.channel_logits(x).sigmoid()
        voxel = self.spatial(x).sigmoid()
        return x * (channel[:, :, None, None, None] + voxel)
