"""The residual block, and the one place where plugins are built and placed.

A plugin keeps the shape and takes ``in_channels``; the convention is
MMDetection's, in 3D:
``dict(cfg=dict(type='MyAttention'), position='after_conv2', stages=(...))``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.ops import BatchNorm3d
from lungdet.registry import MODELS, did_you_mean

POSITIONS = ('after_conv1', 'after_conv2', 'after_add')
PLUGIN_KEYS = {'cfg', 'position', 'stages'}


def stage_plugins(
    plugins: Sequence[dict] | None, stage: int, num_stages: int
) -> list[dict]:
    """Plugins that belong to one stage.

    Args:
        plugins: Plugin dicts of the whole backbone.
        stage: Index of the stage.
        num_stages: Length that every ``stages`` must have.

    Raises:
        ConfigError: Not a list, an unknown key, position or type, a missing
            key, or ``stages`` of another length.
    """
    if plugins is None:
        return []
    if not isinstance(plugins, list | tuple):
        raise ConfigError(
            f'plugins: {type(plugins).__name__} is not a list; write '
            "plugins=[dict(cfg=dict(type=...), position='after_conv2')]."
        )
    mine = []
    for number, plugin in enumerate(plugins):
        _check_plugin(plugin, f'plugins[{number}]', num_stages)
        stages = plugin.get('stages')
        if stages is None or stages[stage]:
            mine.append(plugin)
    return mine


def _check_plugin(plugin: dict, where: str, num_stages: int) -> None:
    keys = set(plugin) if isinstance(plugin, dict) else set()
    for key in sorted(keys - PLUGIN_KEYS):
        raise ConfigError(
            f'{where}: unknown key {key!r}{did_you_mean(key, PLUGIN_KEYS)}; a '
            f'plugin has {sorted(PLUGIN_KEYS)}. Constructor arguments belong '
            "in 'cfg'."
        )
    if not keys >= {'cfg', 'position'}:
        raise ConfigError(
            f"{where}: {plugin!r} lacks 'cfg' or 'position'; both are needed."
        )
    position = plugin['position']
    if position not in POSITIONS:
        raise ConfigError(
            f'{where}.position: {position!r} is unknown'
            f'{did_you_mean(str(position), POSITIONS)}; choose one of '
            f'{POSITIONS}.'
        )
    stages = plugin.get('stages')
    if stages is not None and not (
        isinstance(stages, list | tuple)
        and len(stages) == num_stages
        and all(isinstance(stage, bool) for stage in stages)
    ):
        raise ConfigError(
            f'{where}.stages: {stages!r}, but the backbone has {num_stages} '
            f'stages; give a list of {num_stages} booleans.'
        )
    cfg = plugin['cfg']
    if not isinstance(cfg, dict) or not isinstance(
        cfg.get('type'), str | type
    ):
        raise ConfigError(
            f"{where}.cfg: {cfg!r} lacks 'type'; give a registered class' "
            'name.'
        )
    MODELS.check_type(cfg, f'{where}.cfg.type')
    if 'in_channels' in cfg:
        raise ConfigError(
            f'{where}.cfg.in_channels: given as {cfg["in_channels"]}; the '
            'block supplies its own channel count. Remove the key.'
        )


def plugin_name(cfg: dict, plugin_class: type) -> str:
    """Attribute name: ``_abbr_`` or snake case of the class, + postfix.

    The case rule is mmcv's: ``CBAMBlock`` -> ``cbam_block``, ``SE3D`` ->
    ``se3_d``.
    """
    abbr = getattr(plugin_class, '_abbr_', None)
    if abbr is None:
        abbr = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', plugin_class.__name__)
        abbr = re.sub(r'([a-z\d])([A-Z])', r'\1_\2', abbr).lower()
    return f'{abbr}{cfg.get("postfix", "")}'


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
        cfg = dict(plugin['cfg'])
        plugin_class = cfg['type']
        if isinstance(plugin_class, str):
            plugin_class = MODELS.get(plugin_class)
        name = plugin_name(cfg, plugin_class)
        if hasattr(self, name):
            raise ValueError(
                f'plugins: the name {name!r} is taken already in this block; '
                "give the plugin another 'postfix' in its cfg."
            )
        cfg.pop('postfix', None)
        module = MODELS.build({**cfg, 'in_channels': channels})
        self.add_module(name, module)
        self.plugin_names[plugin['position']].append(name)

    def plugins(self) -> Iterator[nn.Module]:
        """The plugins of this block."""
        for names in self.plugin_names.values():
            for name in names:
                yield getattr(self, name)

    def _plug(self, x: Tensor, position: str) -> Tensor:
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
        out = self._plug(out, 'after_conv1')
        out = self.bn2(self.conv2(out))
        out = self._plug(out, 'after_conv2')
        # out of place: a plugin may have kept its output for backward
        out = self.relu(
            out + (x if self.shortcut is None else self.shortcut(x))
        )
        return self._plug(out, 'after_add')
