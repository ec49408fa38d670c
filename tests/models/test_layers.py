from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from lungdet.errors import ConfigError
from lungdet.models.layers import (
    build_activation,
    build_norm,
    norm_and_activation,
)
from lungdet.ops import BatchNorm3d


@pytest.mark.parametrize(
    ('norm_cfg', 'name', 'kind'),
    [
        ({'type': 'BN3d'}, 'bn1', BatchNorm3d),
        ({'type': 'SyncBN'}, 'bn1', nn.SyncBatchNorm),
        ({'type': 'IN3d', 'affine': True}, 'in1', nn.InstanceNorm3d),
        ({'type': 'GN', 'num_groups': 2}, 'gn1', nn.GroupNorm),
    ],
)
def test_norms_and_their_names(
    norm_cfg: dict, name: str, kind: type[nn.Module]
) -> None:
    before = dict(norm_cfg)

    built_name, layer = build_norm(norm_cfg, 4, 1)

    assert built_name == name and isinstance(layer, kind)
    assert norm_cfg == before
    x = torch.randn(2, 4, 3, 5, 6)
    assert layer.eval()(x).shape == x.shape


@pytest.mark.parametrize('scope', ['mmengine', 'lungdet'])
def test_batch_norm_does_not_depend_on_the_default_scope(scope: str) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        _, layer = build_norm({'type': 'BN3d', 'momentum': 0.01}, 4)

    assert type(layer) is BatchNorm3d
    assert layer.momentum == 0.01


def test_a_frozen_norm_has_no_gradient() -> None:
    _, layer = build_norm({'type': 'BN3d', 'requires_grad': False}, 4)

    assert not any(value.requires_grad for value in layer.parameters())


def test_activations() -> None:
    x = torch.tensor([-2.0, 3.0])

    leaky = build_activation({'type': 'LeakyReLU', 'negative_slope': 0.5})

    assert leaky(x).tolist() == [-1.0, 3.0]


def test_layers_after_a_convolution_can_be_left_out() -> None:
    norm_cfg, act_cfg = {'type': 'BN3d'}, {'type': 'ReLU'}

    def kinds(norm: dict | None, act: dict | None) -> list[type]:
        return [type(m) for m in norm_and_activation(4, norm, act)]

    assert kinds(norm_cfg, act_cfg) == [BatchNorm3d, nn.ReLU]
    assert kinds(None, act_cfg) == [nn.ReLU]
    assert kinds(norm_cfg, None) == [BatchNorm3d]
    assert kinds(None, None) == []


def test_what_cannot_be_built_is_named() -> None:
    with pytest.raises(ConfigError, match=r"norm_cfg.type='BN3D'.*'BN3d'"):
        build_norm({'type': 'BN3D'}, 4)
    with pytest.raises(ConfigError, match="no argument 'momentun'"):
        build_norm({'type': 'BN3d', 'momentun': 0.1}, 4)
    with pytest.raises(
        ConfigError, match=r"act_cfg.type='LeakyRelu'.*'LeakyReLU'"
    ):
        build_activation({'type': 'LeakyRelu'})
    with pytest.raises(ConfigError, match="no argument 'inplce'"):
        build_activation({'type': 'ReLU', 'inplce': True})


@pytest.mark.parametrize(
    ('norm_cfg', 'message'),
    [
        ({'type': 'GN'}, 'norm_cfg: GN lacks num_groups'),
        (
            {'type': 'GN', 'num_groups': 7},
            r'norm_cfg, for 24 channels: .*must be divisible by num_groups',
        ),
        ({'type': 'ReLU'}, "norm_cfg, for 24 .*'ReLU'.* cannot be built"),
        ({'num_groups': 4}, r"norm_cfg: .*has no 'type'"),
    ],
    ids=str,
)
def test_what_is_no_norm_of_the_channels_is_named(
    norm_cfg: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_norm(norm_cfg, 24)


@pytest.mark.parametrize(
    ('act_cfg', 'message'),
    [
        ({'type': 'Conv3d'}, r"act_cfg: .*'Conv3d'.* cannot be built"),
        ({'inplace': True}, r"act_cfg: .*has no 'type'"),
    ],
    ids=str,
)
def test_what_is_no_activation_is_named(act_cfg: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_activation(act_cfg)
