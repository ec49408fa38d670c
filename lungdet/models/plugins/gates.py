"""Gates computed from pooled values: SE, ECA, scSE, coordinate, SimAM."""

from __future__ import annotations

import math

import torch
from mmengine.model import constant_init
from torch import Tensor, nn
from torch.nn import functional as F

from lungdet.errors import ConfigError
from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gating import (
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
        (N, C, D, H, W) -> the same; 2 C h + h + C parameters.

    Source: Hu et al. 2018, section 3, with 3D pooling.
    """

    name = 'se'
    pools_over_space = True

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

    def init_weights(self) -> None:
        if self.identity_start:
            constant_init(self.expand, 0)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        logits = self.expand(self.reduce(x.mean(SPACE)).relu())
        scale = gate(logits, identity_start=self.identity_start)
        return x * scale[:, :, None, None, None]


@MODELS.register_module()
class ECA3D(AttentionPlugin):
    """Scale channels by a gate computed from neighbouring channels' means.

    Args:
        in_channels: C.
        kernel_size: Taps k along the channel index, odd; None: by C, 3 for
            32 to 96 channels, 5 for 128.
        identity_start: Start as the identity, for a network that is
            trained already; else the gates start near 0.5.

    Shape:
        (N, C, D, H, W) -> the same; k parameters.

    Raises:
        ConfigError: ``kernel_size`` is even.

    Source: Wang et al. 2020, equation 12 (gamma 2, b 1), with 3D pooling.
    """

    name = 'eca'
    pools_over_space = True

    def __init__(
        self,
        in_channels: int,
        kernel_size: int | None = None,
        *,
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size is None:
            # the odd number at or next above the paper's estimate
            kernel_size = int((math.log2(in_channels) + 1) / 2) // 2 * 2 + 1
        if kernel_size % 2 == 0:
            raise ConfigError(
                f'ECA3D: kernel_size={kernel_size} is even and has no middle '
                'channel; choose an odd number.'
            )
        self.conv = nn.Conv1d(
            1, 1, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.identity_start = identity_start
        self.init_weights()

    def init_weights(self) -> None:
        if self.identity_start:
            constant_init(self.conv, 0)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        logits = self.conv(x.mean(SPACE)[:, None])[:, 0]
        scale = gate(logits, identity_start=self.identity_start)
        return x * scale[:, :, None, None, None]


@MODELS.register_module()
class SCSE3D(AttentionPlugin):
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
    pools_over_space = True

    def __init__(
        self,
        in_channels: int,
        ratio: int = 2,
        *,
        min_hidden: int = 1,
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        hidden = hidden_channels(in_channels, ratio, min_hidden)
        self.reduce = nn.Linear(in_channels, hidden)
        self.expand = nn.Linear(hidden, in_channels)
        self.spatial = nn.Conv3d(in_channels, 1, 1)
        self.identity_start = identity_start
        self.init_weights()

    def init_weights(self) -> None:
        if self.identity_start:  # two gates of 0.5 sum to 1
            constant_init(self.expand, 0)
            constant_init(self.spatial, 0)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        channel = self.expand(self.reduce(x.mean(SPACE)).relu()).sigmoid()
        voxel = self.spatial(x).sigmoid()
        return x * (channel[:, :, None, None, None] + voxel)


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

    def init_weights(self) -> None:
        if self.identity_start:
            for layer in self.expand:
                constant_init(layer, 0)

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
