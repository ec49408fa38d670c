"""FeatureNet: a residual encoder-decoder from stride 2 to 16 and back to 4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.backbones.res_block import ResBlock3D
from lungdet.models.layers import (
    ACT_CFG,
    NORM_CFG,
    norm_and_activation,
    upsample,
)
from lungdet.models.plugins.placement import stage_plugins
from lungdet.registry import MODELS

MAX_STRIDE = 16
STAGES = ('forw1', 'forw2', 'forw3', 'forw4', 'back3', 'back2')


@MODELS.register_module()
class FeatureNet(BaseModule):
    """Backbone of NoduleNet; the defaults are the published values.

    Args:
        in_channels: Channels of the image.
        stem_channels: Channels of the stem (stride 2).
        channels: Channels of the six stages forw1, forw2, forw3, forw4 (the
            encoder, strides 2, 4, 8, 16), back3, back2 (the decoder, 8, 4).
        blocks: Residual blocks of the six stages.
        plugins: Plugin dicts, see ``plugins/placement.py``; ``stages`` has
            six booleans in the order above.
        norm_cfg: Config of every norm, see ``layers.build_norm``.
        act_cfg: Config of every activation, see ``layers.build_activation``.
        zero_init_last: Start every residual block as its shortcut.
        init_cfg: mmengine's; it does not override a plugin's ``init_weights``.
            Pre-trained weights are loaded and checked by the config's
            ``pretrained``, not here.

    Shape:
        (N, in_channels, D, H, W), sides multiples of 16 ->
        out1 (N, channels[0], D/2, ...), out2 (N, channels[1], D/4, ...),
        comb2 (N, channels[5], D/4, ...).

    Raises:
        ConfigError: A side is not a multiple of 16, or in training below 32 (a
            16^3 crop leaves a norm one value per channel).

    Source: NoduleNet (Tang et al. 2019); parameter names as published.
    """

    # its modules that may start from pre-trained weights without the decoder
    encoder: ClassVar[tuple[str, ...]] = ('preBlock', *STAGES[:4])

    def __init__(
        self,
        in_channels: int = 1,
        stem_channels: int = 24,
        *,
        channels: Sequence[int] = (32, 64, 64, 64, 64, 128),
        blocks: Sequence[int] = (2, 2, 3, 3, 3, 3),
        plugins: Sequence[dict] | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        zero_init_last: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.preBlock = nn.Sequential(
            nn.Conv3d(in_channels, stem_channels, 3, stride=2, padding=1),
            *norm_and_activation(stem_channels, norm_cfg, act_cfg),
            nn.Conv3d(stem_channels, stem_channels, 3, padding=1),
            *norm_and_activation(stem_channels, norm_cfg, act_cfg),
        )
        c1, c2, c3, c4, c5, _ = self.channels = tuple(channels)
        inputs = (stem_channels, c1, c2, c3, c3 + c3, c2 + c2)
        for index, name in enumerate(STAGES):
            stage = _make_stage(
                inputs[index],
                channels[index],
                blocks[index],
                plugins=stage_plugins(plugins, index, len(STAGES)),
                zero_init_last=zero_init_last,
                **layers,
            )
            self.add_module(name, stage)
        self.path1 = upsample(c4, c3, **layers)
        self.path2 = upsample(c5, c2, **layers)
        self.pool = nn.MaxPool3d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sides = x.shape[2:]
        if any(side % MAX_STRIDE for side in sides):
            raise ConfigError(
                f'FeatureNet: input sides {tuple(sides)} are not multiples '
                f'of {MAX_STRIDE}; pad or crop the input.'
            )
        if self.training and max(sides) < 2 * MAX_STRIDE and len(x) == 1:
            raise ConfigError(
                f'FeatureNet: a {tuple(sides)} crop leaves one value per '
                'channel to a norm; train with sides of 32 or more.'
            )
        out1 = self.forw1(self.preBlock(x))
        out2 = self.forw2(self.pool(out1))
        out3 = self.forw3(self.pool(out2))
        out4 = self.forw4(self.pool(out3))
        comb3 = self.back3(torch.cat([self.path1(out4), out3], dim=1))
        comb2 = self.back2(torch.cat([self.path2(comb3), out2], dim=1))
        return out1, out2, comb2


def _make_stage(
    in_channels: int, out_channels: int, num_blocks: int, **options: Any
) -> Sequential:
    widths = [in_channels] + [out_channels] * (num_blocks - 1)
    return Sequential(
        *(ResBlock3D(width, out_channels, **options) for width in widths)
    )
