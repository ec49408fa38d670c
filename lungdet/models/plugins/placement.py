"""Checks, sorts by stage and builds the ``plugins`` of a backbone.

The convention is MMDetection's, in 3D: ``plugins=[dict(
cfg=dict(type='MyAttention'), position='after_conv2', stages=(...))]``.
"""

from __future__ import annotations

from collections.abc import Sequence

from lungdet.errors import ConfigError
from lungdet.models.plugins.base import AttentionPlugin
from lungdet.registry import MODELS, did_you_mean

POSITIONS = ('after_conv1', 'after_conv2', 'after_add')
KEYS = {'cfg', 'position', 'stages'}


def stage_plugins(
    plugins: Sequence[dict] | None, stage: int, num_stages: int
) -> list[dict]:
    """Plugins that belong to one stage.

    Args:
        plugins: Plugin dicts of the whole backbone.
        stage: Index of the stage.
        num_stages: Required length of every ``stages``.

    Raises:
        ConfigError: Not a list, an unknown key or position, a missing key,
            ``stages`` of another length, or a type that is not registered or
            not an ``AttentionPlugin``.
    """
    if plugins is None:
        return []
    if not isinstance(plugins, list | tuple):
        raise ConfigError(
            f'plugins: {type(plugins).__name__} is not a list; write '
            "plugins=[dict(cfg=dict(type=...), position='after_conv2')]."
        )
    selected = []
    for number, plugin in enumerate(plugins):
        where = f'plugins[{number}]'
        _check_keys(plugin, where)
        _check_position(plugin['position'], f'{where}.position')
        stages = plugin.get('stages')
        _check_stages(stages, f'{where}.stages', num_stages)
        _check_cfg(plugin['cfg'], f'{where}.cfg')
        if stages is None or stages[stage]:
            selected.append(plugin)
    return selected


def build_plugin(cfg: dict, in_channels: int) -> tuple[str, AttentionPlugin]:
    """A plugin and the name of its attribute: the class's, then ``postfix``.

    Args:
        cfg: ``type``, arguments of the constructor, and ``postfix``, which
            distinguishes two plugins of the same type.
        in_channels: Channels of the block's output.

    Raises:
        ConfigError: The type is not registered, not an ``AttentionPlugin``, or
            has no such argument; its ``zero_at_start`` names no layer, or
            ``postfix`` has a dot.
    """
    name = f'{plugin_class(cfg).name}{cfg.get("postfix", "")}'
    if '.' in name:
        raise ConfigError(
            f'cfg.postfix: {cfg["postfix"]!r} has a dot, which separates the '
            'names of modules. Leave it out.'
        )
    arguments = {key: value for key, value in cfg.items() if key != 'postfix'}
    plugin = MODELS.build({**arguments, 'in_channels': in_channels})
    plugin.check_zero_at_start()
    return name, plugin


def plugin_class(cfg: dict, where: str = 'cfg') -> type[AttentionPlugin]:
    """The class that a plugin's ``cfg`` names.

    Args:
        cfg: Has a ``type``.
        where: Names ``cfg`` in the message.

    Raises:
        ConfigError: Not registered, or not an ``AttentionPlugin``.
    """
    MODELS.check_type(cfg, f'{where}.type')
    kind = MODELS.class_of(cfg)
    if not (isinstance(kind, type) and issubclass(kind, AttentionPlugin)):
        name = kind.__name__ if isinstance(kind, type) else kind
        raise ConfigError(
            f'{where}.type: {name} is not an '
            'AttentionPlugin, so it does not say how it behaves in a block. '
            'Derive it from lungdet.models.AttentionPlugin and declare '
            '`name` and `pools_over_space`.'
        )
    return kind


def _check_keys(plugin: dict, where: str) -> None:
    keys = set(plugin) if isinstance(plugin, dict) else set()
    for key in sorted(keys - KEYS):
        raise ConfigError(
            f'{where}: unknown key {key!r}{did_you_mean(key, KEYS)}; a plugin '
            f'has {sorted(KEYS)}. Constructor arguments belong in '
            "'cfg'."
        )
    if not keys >= {'cfg', 'position'}:
        raise ConfigError(
            f"{where}: {plugin!r} lacks 'cfg' or 'position'; both are needed."
        )


def _check_position(position: object, where: str) -> None:
    if position not in POSITIONS:
        raise ConfigError(
            f'{where}: {position!r} is unknown'
            f'{did_you_mean(str(position), POSITIONS)}; choose one of '
            f'{POSITIONS}.'
        )


def _check_stages(stages: object, where: str, num_stages: int) -> None:
    if stages is not None and not (
        isinstance(stages, list | tuple)
        and len(stages) == num_stages
        and all(isinstance(stage, bool) for stage in stages)
    ):
        raise ConfigError(
            f'{where}: {stages!r}, but the backbone has {num_stages} '
            f'stages; give a list of {num_stages} booleans.'
        )


def _check_cfg(cfg: object, where: str) -> None:
    if not isinstance(cfg, dict) or not isinstance(
        cfg.get('type'), str | type
    ):
        raise ConfigError(
            f"{where}: {cfg!r} lacks 'type'; give a registered class' name."
        )
    plugin_class(cfg, where)
    if 'in_channels' in cfg:
        raise ConfigError(
            f'{where}.in_channels: given as {cfg["in_channels"]}; the '
            'block supplies its own channel count. Remove the key.'
        )
