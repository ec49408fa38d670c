"""The residual block, with positions for plugins."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.plugins.placement import POSITIONS, build_plugin
from lungdet.ops import BatchNorm3d


class ResBlock3D(BaseModule):
    """Two 3x3x3 convolutions with a shortcut.

    ``y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))``; the shortcut
    is the identity, or a 1x1x1 convolution with norm where channels change.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, and of every plugin.
        plugins: Plugin dicts of this block's stage.

    Shape:
        (N, in_channels, D, H, W) -> (N, out_channels, D, H, W).

    Raises:
        ValueError: Two plugins of the block have the same name, or a plugin
            changes the shape.
        ConfigError: A plugin type is not registered.

    Source: NoduleNet's ResBlock; plugins as MMDetection places them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        plugins: Sequence[dict] = (),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.bn1 = BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.bn2 = BatchNorm3d(out_channels)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1),
                BatchNorm3d(out_channels),
            )
        self.plugin_names: dict[str, list[str]] = {p: [] for p in POSITIONS}
        for plugin in plugins:
            self._add_plugin(plugin, out_channels)

    def _add_plugin(self, plugin: dict, channels: int) -> None:
        name, module = build_plugin(plugin['cfg'], channels)
        if hasattr(self, name):
            raise ConfigError(
                f'plugins: the name {name!r} is taken already in this block; '
                "give the plugin another 'postfix' in its cfg."
            )
        self.add_module(name, module)
        self.plugin_names[plugin['position']].append(name)

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

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self._run_plugins(out, 'after_conv1')
        out = self.bn2(self.conv2(out))
        out = self._run_plugins(out, 'after_conv2')
        # out of place: a plugin may have kept its output for backward
        out = self.relu(
            out + (x if self.shortcut is None else self.shortcut(x))
        )
        return self._run_plugins(out, 'after_add')
