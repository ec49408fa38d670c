"""The residual block, with positions for plugins."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule, constant_init
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.layers import (
    ACT_CFG,
    NORM_CFG,
    build_activation,
    build_norm,
)
from lungdet.models.plugins.placement import POSITIONS, build_plugin
from lungdet.ops import Conv3d


class ResBlock3D(BaseModule):
    """Two 3x3x3 convolutions with a shortcut.

    ``y = act(norm2(conv2(act(norm1(conv1(x))))) + shortcut(x))``; the
    shortcut is the identity, or a 1x1x1 convolution with norm where channels
    change. The norms are named as in mmcv: ``bn1``, ``gn1``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, and of every plugin.
        plugins: Plugin dicts of this block's stage.
        norm_cfg: Config of every norm, see ``layers.build_norm``.
        act_cfg: Config of every activation, see ``layers.build_activation``.
        zero_init_last: Start the weight of the second norm at zero, so that an
            untrained block is its shortcut.

    Shape:
        (N, in_channels, D, H, W) -> (N, out_channels, D, H, W).

    Raises:
        ConfigError: Two plugins of the block have the same name, the type of
            a plugin or layer is not registered, or ``zero_init_last`` with a
            norm that has no weight.
        ValueError: A plugin changes the shape.

    Source: NoduleNet's ResBlock; plugins are placed as in MMDetection.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        plugins: Sequence[dict] = (),
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        zero_init_last: bool = False,
    ) -> None:
        super().__init__()
        self.norm1_name, norm1 = build_norm(norm_cfg, out_channels, 1)
        self.norm2_name, norm2 = build_norm(norm_cfg, out_channels, 2)
        self.conv1 = Conv3d(in_channels, out_channels, 3, padding=1)
        self.add_module(self.norm1_name, norm1)
        self.act = build_activation(act_cfg)
        self.conv2 = Conv3d(out_channels, out_channels, 3, padding=1)
        self.add_module(self.norm2_name, norm2)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1),
                build_norm(norm_cfg, out_channels)[1],
            )
        self.plugin_names: dict[str, list[str]] = {p: [] for p in POSITIONS}
        for plugin in plugins:
            self._add_plugin(plugin, out_channels)
        self.zero_init_last = zero_init_last
        if zero_init_last and getattr(norm2, 'weight', None) is None:
            raise ConfigError(
                f'zero_init_last: {type(norm2).__name__} has no weight to '
                'start at zero. Give norm_cfg affine=True, or leave '
                'zero_init_last out.'
            )
        self._init_last_norm()

    def _add_plugin(self, plugin: dict, channels: int) -> None:
        name, module = build_plugin(plugin['cfg'], channels)
        if hasattr(self, name):
            raise ConfigError(
                f'plugins: the name {name!r} is taken already in this block; '
                "give the plugin another 'postfix' in its cfg."
            )
        self.add_module(name, module)
        self.plugin_names[plugin['position']].append(name)

    @property
    def norm1(self) -> nn.Module:
        """The norm after the first convolution."""
        return getattr(self, self.norm1_name)

    @property
    def norm2(self) -> nn.Module:
        """The norm after the second convolution."""
        return getattr(self, self.norm2_name)

    def init_weights(self) -> None:
        super().init_weights()
        self._init_last_norm()

    def _init_last_norm(self) -> None:
        if self.zero_init_last:
            constant_init(self.norm2, 0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.norm1(self.conv1(x)))
        out = self._run_plugins(out, 'after_conv1')
        out = self.norm2(self.conv2(out))
        out = self._run_plugins(out, 'after_conv2')
        shortcut = x if self.shortcut is None else self.shortcut(x)
        # not in place: a plugin may have saved its output for backward
        out = self.act(out + shortcut)
        return self._run_plugins(out, 'after_add')

    def _run_plugins(self, x: Tensor, position: str) -> Tensor:
        for name in self.plugin_names[position]:
            out = getattr(self, name)(x)
            if out.shape != x.shape:
                raise ValueError(
                    f'plugin {name!r} changed the shape {tuple(x.shape)} to '
                    f'{tuple(out.shape)}; a plugin must keep it.'
                )
            x = out
        return x
