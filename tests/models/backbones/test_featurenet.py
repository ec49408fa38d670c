from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lungdet.errors import ConfigError
from lungdet.models import FeatureNet, NoduleNet, ResBlock3D
from lungdet.ops import BatchNorm3d
from tests.models import toy_plugins  # noqa: F401, registers them


def test_input_sides_are_checked() -> None:
    with pytest.raises(ConfigError, match='multiples of 16'):
        FeatureNet()(torch.zeros(1, 1, 40, 32, 32))
    with pytest.raises(ConfigError, match='32 or more'):
        FeatureNet().train()(torch.zeros(1, 1, 16, 16, 16))


NORMS = (nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm3d, nn.GroupNorm)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)
CONSTANT = {'type': 'Constant', 'layer': 'Conv3d', 'val': 3}


def small_net(**kwargs: object) -> FeatureNet:
    return FeatureNet(
        stem_channels=2,
        channels=(2,) * 6,
        blocks=(1,) * 6,
        plugins=[{'cfg': {'type': 'StartsAtSeven'}, 'position': 'after_add'}],
        **kwargs,
    )


def test_plugin_is_initialised_after_the_backbone() -> None:
    net = small_net(init_cfg=CONSTANT)

    net.init_weights()

    assert (net.back2[0].conv1.weight == 3).all()
    assert (net.back2[0].seven.conv.weight == 7).all()


def test_plugin_is_initialised_after_the_detector() -> None:
    model = NoduleNet(
        {
            'type': 'FeatureNet',
            'plugins': [
                {'cfg': {'type': 'StartsAtSeven'}, 'position': 'after_conv2'}
            ],
        },
        {'type': 'RPN3DHead'},
        init_cfg=CONSTANT,
    )

    model.init_weights()

    assert (model.backbone.forw1[1].conv2.weight == 3).all()
    assert (model.backbone.forw1[1].seven.conv.weight == 7).all()


def test_pretrained_weights_come_last(tmp_path: Path) -> None:
    trained = small_net()
    nn.init.constant_(trained.forw1[0].seven.conv.weight, 0.5)
    torch.save(trained.state_dict(), tmp_path / 'net.pth')
    file = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'net.pth')}
    net = small_net(init_cfg=[CONSTANT, file])

    net.init_weights()

    for key, value in trained.state_dict().items():
        assert torch.equal(net.state_dict()[key], value), key


@pytest.mark.parametrize(
    ('norm_cfg', 'kind'),
    [
        ({'type': 'BN3d', 'momentum': 0.02}, BatchNorm3d),
        ({'type': 'SyncBN'}, nn.SyncBatchNorm),
        ({'type': 'IN3d', 'affine': True}, nn.InstanceNorm3d),
        ({'type': 'GN', 'num_groups': 2}, nn.GroupNorm),
    ],
)
def test_every_norm_and_activation_is_the_configs(
    norm_cfg: dict, kind: type[nn.Module]
) -> None:
    act_cfg = {'type': 'LeakyReLU', 'negative_slope': 0.1}
    net = small_net(norm_cfg=norm_cfg, act_cfg=act_cfg)
    plain = small_net()
    norms = [m for m in net.modules() if isinstance(m, NORMS)]
    activations = [m for m in net.modules() if isinstance(m, ACTIVATIONS)]

    outs = net.eval()(torch.randn(1, 1, 32, 32, 48))

    assert all(isinstance(norm, kind) for norm in norms)
    assert {type(layer) for layer in activations} == {nn.LeakyReLU}
    assert len(norms) == sum(isinstance(m, NORMS) for m in plain.modules())
    assert [out.shape[2:] for out in outs] == [
        (16, 16, 24),
        (8, 8, 12),
        (8, 8, 12),
    ]
    names = [n for n, _ in net.named_parameters() if 'conv' in n]
    assert names == [n for n, _ in plain.named_parameters() if 'conv' in n]


def test_zero_init_last_is_of_every_block() -> None:
    net = small_net(zero_init_last=True)
    blocks = [m for m in net.modules() if isinstance(m, ResBlock3D)]

    assert len(blocks) == 6
    for block in blocks:
        assert not block.norm2.weight.any() and block.norm1.weight.all()
