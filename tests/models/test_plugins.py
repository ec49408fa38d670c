from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models import FeatureNet, NoduleNet
from lungdet.models.backbones.res_block import ResBlock3D
from lungdet.registry import MODELS

SIX = (True,) * 6


@MODELS.register_module(force=True)
class AddOne(nn.Module):
    _abbr_ = 'add_one'

    def __init__(self, in_channels: int, amount: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((in_channels,), amount))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[:, None, None, None]


@MODELS.register_module(force=True)
class Halve(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2]


@MODELS.register_module(force=True)
class CBAMGate3D(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)  # keeps its output for backward


def plugin(position: str = 'after_conv2', **cfg: object) -> dict:
    return {'cfg': {'type': 'AddOne', **cfg}, 'position': position}


def test_plugins_run_in_order_at_their_place() -> None:
    block = ResBlock3D(
        2,
        2,
        plugins=[
            plugin('after_add', amount=2.0),
            plugin('after_conv2', postfix='_b', amount=-100.0),
        ],
    ).eval()
    x = torch.rand(1, 2, 3, 4, 5)

    # -100 before the sum lets the ReLU close; + 2 comes after it
    assert torch.equal(block(x), torch.full_like(x, 2.0))


def test_plugins_at_one_position_are_chained() -> None:
    gate = {'cfg': {'type': 'CBAMGate3D'}, 'position': 'after_add'}
    x = torch.rand(1, 2, 3, 4, 5)
    plain = ResBlock3D(2, 2).eval()
    # strict=False: only the toy's own weight is new
    found = {}
    for name, plugins in {
        'gate last': [plugin('after_add', amount=3.0), gate],
        'gate first': [gate, plugin('after_add', amount=3.0)],
    }.items():
        block = ResBlock3D(2, 2, plugins=plugins).eval()
        block.load_state_dict(plain.state_dict(), strict=False)
        found[name] = block(x)

    assert torch.allclose(found['gate last'], torch.sigmoid(plain(x) + 3))
    assert torch.allclose(found['gate first'], torch.sigmoid(plain(x)) + 3)


def test_every_position_lies_where_it_says() -> None:
    x = torch.rand(1, 2, 3, 4, 5)
    plain = ResBlock3D(2, 2).eval()
    hidden = torch.relu(plain.bn1(plain.conv1(x)))
    wanted = {
        'after_conv1': torch.relu(plain.bn2(plain.conv2(hidden + 5)) + x),
        'after_conv2': torch.relu(plain.bn2(plain.conv2(hidden)) + 5 + x),
        'after_add': torch.relu(plain.bn2(plain.conv2(hidden)) + x) + 5,
    }

    for position, value in wanted.items():
        block = ResBlock3D(2, 2, plugins=[plugin(position, amount=5.0)])
        block.load_state_dict(plain.state_dict(), strict=False)
        assert torch.allclose(block.eval()(x), value), position


@pytest.mark.parametrize(
    'position', ['after_conv1', 'after_conv2', 'after_add']
)
def test_plugin_that_keeps_its_output_can_be_trained(position: str) -> None:
    block = ResBlock3D(
        2, 3, plugins=[{'cfg': {'type': 'CBAMGate3D'}, 'position': position}]
    )

    block(torch.rand(2, 2, 3, 4, 5)).sum().backward()

    assert float(block.conv1.weight.grad.abs().sum()) > 0


def test_name_without_abbreviation_is_snake_case_by_mmcv() -> None:
    block = ResBlock3D(
        2,
        2,
        plugins=[
            {
                'cfg': {'type': 'CBAMGate3D', 'postfix': 2},
                'position': 'after_add',
            }
        ],
    )

    assert isinstance(block.cbam_gate3_d2, CBAMGate3D)


def test_names_in_the_state_dict() -> None:
    net = FeatureNet(
        plugins=[
            {**plugin(), 'stages': (True, False, False, False, False, True)},
            {**plugin(postfix='_2'), 'stages': SIX},
        ]
    )

    names = {n for n in net.state_dict() if 'add_one' in n}

    assert 'forw1.0.add_one.weight' in names
    assert 'forw2.0.add_one.weight' not in names
    assert 'forw2.0.add_one_2.weight' in names
    assert net.back2[2].add_one.weight.shape == (128,)


def test_user_config_is_left_alone() -> None:
    plugins = [plugin(postfix='_x')]

    FeatureNet(plugins=plugins)

    assert plugins == [plugin(postfix='_x')]


@pytest.mark.parametrize(
    ('plugins', 'message'),
    [
        ({'cfg': {}}, 'not a list'),
        ([{'cfg': {'type': 'AddOne'}}], "lacks 'cfg' or 'position'"),
        ([plugin('after_relu')], 'after_relu'),
        ([{**plugin(), 'stages': (True,)}], 'backbone has 6 stages'),
        ([{**plugin(), 'stages': True}], 'True, but the backbone has 6'),
        ([{**plugin(), 'where': 1}], 'unknown key'),
        ([{'cfg': {}, 'position': 'after_add'}], "lacks 'type'"),
        ([plugin(in_channels=3)], 'supplies its own channel count'),
        ([{**plugin(), 'stages': (0, 1, 2, 3, 4, 5)}], '6 booleans'),
        ([{'cfg': {'type': 5}, 'position': 'after_add'}], "lacks 'type'"),
        ([{'cfg': 'AddOne', 'position': 'after_add'}], "lacks 'type'"),
        (['AddOne'], "lacks 'cfg' or 'position'"),
        ([plugin(), plugin()], "'add_one' is taken already.*postfix"),
        ([plugin(), plugin('after_add')], "'add_one' is taken already"),
    ],
)
def test_wrong_plugins_are_named(plugins: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureNet(plugins=plugins)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (
            {'cfg': {'type': 'AddOne'}, 'positon': 'after_add'},
            r"plugins\[0\]: unknown key 'positon'.*mean 'position'",
        ),
        (
            plugin('after_conv4'),
            r"plugins\[0\].position: 'after_conv4'.*mean 'after_conv",
        ),
    ],
)
def test_misspelt_key_or_position_gets_the_closest(
    wrong: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        FeatureNet(plugins=[wrong])


@pytest.mark.parametrize('stages', [None, (False,) * 6])
def test_misspelt_type_gets_place_and_closest_name(stages: object) -> None:
    wrong = {
        'cfg': {'type': 'QuartetAtention'},
        'position': 'after_add',
        'stages': stages,
    }

    with pytest.raises(ConfigError) as error:
        FeatureNet(plugins=[plugin(), wrong])

    message = str(error.value)
    assert "plugins[1].cfg.type='QuartetAtention' is not" in message
    assert "did you mean 'QuartetAttention'?" in message
    assert 'CBAM3D' in message and 'custom_imports' in message


def test_class_itself_is_a_type() -> None:
    block = ResBlock3D(
        2, 2, plugins=[{'cfg': {'type': AddOne}, 'position': 'after_add'}]
    )

    assert isinstance(block.add_one, AddOne)


def test_plugin_that_changes_the_shape_is_refused() -> None:
    block = ResBlock3D(
        2, 2, plugins=[{'cfg': {'type': 'Halve'}, 'position': 'after_add'}]
    )

    with pytest.raises(ValueError, match='changed the shape'):
        block(torch.rand(2, 2, 4, 4, 4))


@MODELS.register_module(force=True)
class StartsAtSeven(nn.Module):
    _abbr_ = 'seven'

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, in_channels, 1)
        self.init_weights()

    def init_weights(self) -> None:
        nn.init.constant_(self.conv.weight, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def small_net(**kwargs: object) -> FeatureNet:
    return FeatureNet(
        stem_channels=2,
        channels=(2,) * 6,
        blocks=(1,) * 6,
        plugins=[{'cfg': {'type': 'StartsAtSeven'}, 'position': 'after_add'}],
        **kwargs,
    )


CONSTANT = {'type': 'Constant', 'layer': 'Conv3d', 'val': 3}


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
