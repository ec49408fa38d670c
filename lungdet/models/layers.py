"""Layers of backbones and heads, built from a config by mmcv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.registry import DefaultScope
from torch import nn

from lungdet.errors import ConfigError
from lungdet.ops import BatchNorm3d
from lungdet.registry import MODELS

NORM_CFG = {'type': 'BN3d'}
ACT_CFG = {'type': 'ReLU', 'inplace': True}

MODELS.register_module('BN3d', module=BatchNorm3d)


def build_norm(
    norm_cfg: dict, channels: int, postfix: int | str = ''
) -> tuple[str, nn.Module]:
    """A norm layer and its name in mmcv.

    Args:
        norm_cfg: ``type`` is ``'BN3d'``, ``'SyncBN'``, ``'IN3d'``, ``'GN'``
            (with ``num_groups``) or a registered class; the other keys are its
            arguments, and ``requires_grad``.
        channels: Channels of the map.
        postfix: End of the name: ``'bn1'``, ``'gn1'``.

    Raises:
        ConfigError: The type is not registered, has no such argument, or does
            not fit the channels.
    """
    arguments = {k: v for k, v in norm_cfg.items() if k != 'requires_grad'}
    _check(arguments, 'norm_cfg')
    # without a scope, mmcv would use torch's batch norm
    with DefaultScope.overwrite_default_scope('lungdet'):
        with _clear_errors(norm_cfg, f'norm_cfg, for {channels} channels'):
            return build_norm_layer(norm_cfg, channels, postfix)


def build_activation(act_cfg: dict) -> nn.Module:
    """An activation layer.

    Args:
        act_cfg: ``type`` is ``'ReLU'``, ``'LeakyReLU'``, ``'SiLU'`` or of
            another registered class; the other keys are its arguments.

    Raises:
        ConfigError: The type is not registered, has no such argument, or
            lacks one.
    """
    _check(act_cfg, 'act_cfg')
    with DefaultScope.overwrite_default_scope('lungdet'):
        with _clear_errors(act_cfg, 'act_cfg'):
            return build_activation_layer(act_cfg)


def norm_and_activation(
    channels: int, norm_cfg: dict | None, act_cfg: dict | None
) -> list[nn.Module]:
    """The layers after a convolution.

    Args:
        channels: Channels of the map.
        norm_cfg: See ``build_norm``; None for no norm.
        act_cfg: See ``build_activation``; None for no activation.
    """
    layers: list[nn.Module] = []
    if norm_cfg is not None:
        layers.append(build_norm(norm_cfg, channels)[1])
    if act_cfg is not None:
        layers.append(build_activation(act_cfg))
    return layers


def upsample(
    in_channels: int,
    out_channels: int,
    norm_cfg: dict = NORM_CFG,
    act_cfg: dict = ACT_CFG,
) -> nn.Sequential:
    """Double every side: transposed convolution, norm and activation.

    Args:
        in_channels: Channels of the input (N, C, D, H, W).
        out_channels: Channels of the output (N, C', 2 D, 2 H, 2 W).
        norm_cfg: See ``build_norm``.
        act_cfg: See ``build_activation``.
    """
    return nn.Sequential(
        nn.ConvTranspose3d(in_channels, out_channels, 2, stride=2),
        *norm_and_activation(out_channels, norm_cfg, act_cfg),
    )


def _check(cfg: dict, where: str) -> None:
    if 'type' not in cfg:
        raise ConfigError(
            f"{where}: {cfg!r} has no 'type'; give it too, such as "
            "dict(type='GN', num_groups=8) or dict(type='SiLU')."
        )
    MODELS.check_type(cfg, f'{where}.type')
    MODELS.check_arguments(cfg)
    if MODELS.class_of(cfg) is nn.GroupNorm and 'num_groups' not in cfg:
        raise ConfigError(
            f'{where}: GN lacks num_groups, by which channels are divided.'
        )


@contextmanager
def _clear_errors(cfg: Mapping[str, Any], where: str) -> Iterator[None]:
    """Name the config of a layer that its class refuses."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f'{where}: {dict(cfg)} cannot be built ({error}).'
        ) from error
