"""Non-local attention: each voxel adds a mean of others."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lungdet.errors import ConfigError
from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import hidden_channels, in_float32
from lungdet.registry import MODELS


@MODELS.register_module()
class NonLocal3D(AttentionPlugin):
    """Add to each voxel a mean of others, weighted by similarity.

    Meant for coarse maps: every voxel is compared with an eighth of all.

    Args:
        in_channels: C.
        ratio: Channels over the channels h that are compared.
        min_hidden: Lower bound of h.
        max_voxels: Largest map allowed; time grows with its square.

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
    zero_at_start = ('out',)

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
        # ceil_mode keeps a side of 1
        key = F.max_pool3d(self.key(x), 2, ceil_mode=True)
        value = F.max_pool3d(self.value(x), 2, ceil_mode=True)
        attended = F.scaled_dot_product_attention(
            _voxels(query), _voxels(key), _voxels(value)
        )
        attended = attended[:, 0].transpose(1, 2).reshape(query.shape)
        return x + self.out(attended)


def _voxels(x: Tensor) -> Tensor:
    """(N, h, D, H, W) as the rows (N, 1, voxels, h) of one head.

    They are contiguous: for other layouts, torch keeps the matrix of all
    pairs.
    """
    return x.flatten(2).transpose(1, 2)[:, None].contiguous()
