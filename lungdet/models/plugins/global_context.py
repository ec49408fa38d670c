"""Global context: one vector, added to all voxels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import ChannelMLP, in_float32
from lungdet.registry import MODELS


@MODELS.register_module()
class GlobalContext3D(AttentionPlugin):
    """Add one vector to all voxels, pooled with learned weights.

    Args:
        in_channels: C.
        ratio: Channels over hidden width h.
        min_hidden: Lower bound of h; the layer norm of fewer values would be
            nearly constant.

    Shape:
        (N, C, D, H, W) -> the same; 2 C h + 2 C + 3 h + 1 parameters, the
        last layer zero at the start.

    Source: Cao et al. 2019 (GCNet), figure 4d, in 3D.
    """

    name = 'global_context'
    pools_over_space = True
    starts_as_identity = True
    zero_at_start = ('transform.3',)

    def __init__(
        self, in_channels: int, ratio: int = 4, *, min_hidden: int = 4
    ) -> None:
        super().__init__()
        self.attend = nn.Conv3d(in_channels, 1, 1)
        self.transform = ChannelMLP(
            in_channels, ratio, min_hidden=min_hidden, norm=True
        )
        self.init_weights()

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        weights = self.attend(x).flatten(2).softmax(-1)
        context = torch.einsum('ncv,nov->nc', x.flatten(2), weights)
        return x + self.transform(context)[:, :, None, None, None]
