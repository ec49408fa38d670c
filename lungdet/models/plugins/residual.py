"""Plugins that add to their input and start as the identity."""

from __future__ import annotations

import torch
from mmengine.model import constant_init
from torch import Tensor, nn
from torch.nn import functional as F

from lungdet.errors import ConfigError
from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gating import SPACE, hidden_channels, in_float32
from lungdet.registry import MODELS


@MODELS.register_module()
class GRN3D(AttentionPlugin):
    """Let channels compete by their norm over space.

    ``x + gamma * x * n + beta``, n the channel's L2 norm over the mean norm.

    Args:
        in_channels: C.
        eps: Added to the mean norm.

    Shape:
        (N, C, D, H, W) -> the same; 2 C parameters, zero at the start.

    Source: Woo et al. 2023 (ConvNeXt V2), section 3.2, in 3D.
    """

    name = 'grn'
    pools_over_space = True
    starts_as_identity = True

    def __init__(self, in_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(in_channels))
        self.beta = nn.Parameter(torch.zeros(in_channels))
        self.eps = eps

    def init_weights(self) -> None:
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        # the smallest number: a root has no derivative at a channel of zeros
        tiny = torch.finfo(x.dtype).tiny
        norm = (x.square().sum(SPACE, keepdim=True) + tiny).sqrt()
        relative = norm / (norm.mean(1, keepdim=True) + self.eps)
        gamma, beta = (p[:, None, None, None] for p in (self.gamma, self.beta))
        return x + gamma * x * relative + beta


@MODELS.register_module()
class GlobalContext3D(AttentionPlugin):
    """Add one vector to all voxels, pooled with learned weights.

    Args:
        in_channels: C.
        ratio: Channels over hidden width h.
        min_hidden: Lower bound of h; fewer values a layer norm makes nearly
            constant.

    Shape:
        (N, C, D, H, W) -> the same; 2 C h + 2 C + 3 h + 1 parameters, the
        last layer zero at the start.

    Source: Cao et al. 2019 (GCNet), figure 4d, in 3D.
    """

    name = 'global_context'
    pools_over_space = True
    starts_as_identity = True

    def __init__(
        self, in_channels: int, ratio: int = 4, *, min_hidden: int = 4
    ) -> None:
        super().__init__()
        hidden = hidden_channels(in_channels, ratio, min_hidden)
        self.attend = nn.Conv3d(in_channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Linear(in_channels, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, in_channels),
        )
        self.init_weights()

    def init_weights(self) -> None:
        constant_init(self.transform[-1], 0)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        weights = self.attend(x).flatten(2).softmax(-1)
        context = torch.einsum('ncv,nov->nc', x.flatten(2), weights)
        return x + self.transform(context)[:, :, None, None, None]


@MODELS.register_module()
class NonLocal3D(AttentionPlugin):
    """Add to each voxel a mean of others, weighted by similarity.

    Meant for coarse maps: every voxel is compared with one in eight of all.

    Args:
        in_channels: C.
        ratio: Channels over the channels h that are compared.
        min_hidden: Lower bound of h.
        max_voxels: Largest map allowed, as time grows with its square.

    Shape:
        (N, C, D, H, W) -> the same; 4 C h + 3 h + C parameters, the last
        layer zero at the start.

    Raises:
        ConfigError: A map of more voxels than ``max_voxels``.

    Source: Wang et al. 2018, embedded Gaussian without norm, keys and values
    pooled by 2.
    """

    name = 'non_local'
    pools_over_space = True
    starts_as_identity = True

    def __init__(
        self,
        in_channels: int,
        ratio: int = 2,
        *,
        min_hidden: int = 1,
        max_voxels: int = 32**3,
    ) -> None:
        super().__init__()
        hidden = hidden_channels(in_channels, ratio, min_hidden)
        self.query = nn.Conv3d(in_channels, hidden, 1)
        self.key = nn.Conv3d(in_channels, hidden, 1)
        self.value = nn.Conv3d(in_channels, hidden, 1)
        self.out = nn.Conv3d(hidden, in_channels, 1)
        self.max_voxels = max_voxels
        self.init_weights()

    def init_weights(self) -> None:
        constant_init(self.out, 0)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        voxels = x[0, 0].numel()
        if voxels > self.max_voxels:
            raise ConfigError(
                f'NonLocal3D: a map of {tuple(x.shape[2:])} is {voxels:,} '
                f'voxels, more than max_voxels={self.max_voxels:,}; each is '
                'compared with an eighth of the others. Use stages=(...) for '
                'forw3, forw4 and back3 only.'
            )
        query = self.query(x)
        # ceil_mode: a side of 1 stays
        key = F.max_pool3d(self.key(x), 2, ceil_mode=True)
        value = F.max_pool3d(self.value(x), 2, ceil_mode=True)
        attended = F.scaled_dot_product_attention(
            _rows(query), _rows(key), _rows(value)
        )
        attended = attended[:, 0].transpose(1, 2).reshape(query.shape)
        return x + self.out(attended)


def _rows(x: Tensor) -> Tensor:
    """(N, h, D, H, W) as the rows (N, 1, voxels, h) of one head.

    Contiguous: for other layouts torch keeps the matrix of all pairs.
    """
    return x.flatten(2).transpose(1, 2)[:, None].contiguous()
