"""Head that restores a volume of the input's size from FeatureNet's maps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.layers import ACT_CFG, NORM_CFG, upsample
from lungdet.registry import MODELS

NUM_LEVELS = 2  # from stride 4 to stride 1
MIN_MEAN = 0.01  # closer to 0 or 1, the sigmoid would start saturated


@MODELS.register_module()
class RestorationHead(BaseModule):
    """Two more decoder levels and a 1x1x1 convolution with a sigmoid.

    There is no skip connection from the input: the network could copy it
    instead of restoring. The head is discarded after pre-training.

    Args:
        in_channels: Channels of ``comb2``.
        channels: Channels at stride 2 and at stride 1; (64, 32) halves the
            memory at stride 1.
        norm_cfg: Config of every norm, see ``layers.build_norm``.
        act_cfg: Config of every activation, see ``layers.build_activation``.
        init_cfg: mmengine's.

    Shape:
        (N, in_channels, D/4, H/4, W/4) -> (N, 1, D, H, W), float32 in (0, 1).

    Raises:
        ConfigError: ``channels`` does not have two numbers.

    Source: Models Genesis (Zhou et al. 2021), whose decoder ends at full
        size; FeatureNet's ends at stride 4.
    """

    def __init__(
        self,
        in_channels: int = 128,
        channels: Sequence[int] = (64, 64),
        *,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(channels) != NUM_LEVELS:
            raise ConfigError(
                f'RestorationHead: channels={tuple(channels)}; from stride 4 '
                f'to 1 there are {NUM_LEVELS} levels, give one number each.'
            )
        widths = (in_channels, *channels)
        self.decoder = nn.Sequential(
            *(
                upsample(a, b, norm_cfg, act_cfg)
                for a, b in itertools.pairwise(widths)
            )
        )
        self.out = nn.Conv3d(channels[-1], 1, 1)

    @torch.no_grad()
    def set_mean(self, mean: Tensor) -> None:
        """Make the mean of the data the initial output, against collapse."""
        logit = mean.clamp(MIN_MEAN, 1 - MIN_MEAN).logit()
        assert self.out.bias is not None
        self.out.bias.copy_(logit.expand(1))

    def forward(self, comb2: Tensor) -> Tensor:
        return self.out(self.decoder(comb2)).float().sigmoid()
