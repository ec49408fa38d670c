from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lungdet.errors import ConfigError
from lungdet.models import FeatureNet, NoduleNet
from tests.models import toy_plugins  # noqa: F401, registers them


def test_input_sides_are_checked() -> None:
    with pytest.raises(ConfigError, match='multiples of 16'):
        FeatureNet()(torch.zeros(1, 1, 40, 32, 32))
    with pytest.raises(ConfigError, match='32 or more'):
        FeatureNet().train()(torch.zeros(1, 1, 16, 16, 16))


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
