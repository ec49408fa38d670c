from __future__ import annotations

import pytest
from torch import nn

from lungdet.errors import ConfigError
from lungdet.models import FeatureNet, ResBlock3D
from lungdet.registry import MODELS
from tests.models.toy_plugins import AddOne, plugin

SIX = (True,) * 6


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
        ([plugin(postfix='.2')], "cfg.postfix: '.2' has a dot"),
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
def test_misspelt_type_gets_its_key_and_closest_name(stages: object) -> None:
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


@MODELS.register_module(force=True)
class PlainModule(nn.Identity):
    pass


@pytest.mark.parametrize('kind', ['PlainModule', PlainModule])
def test_a_plain_module_is_told_to_derive_from_the_base(kind: object) -> None:
    plain = {'cfg': {'type': kind}, 'position': 'after_add'}

    with pytest.raises(
        ConfigError,
        match=r'plugins\[0\].cfg.type: PlainModule is not an AttentionPlugin.*'
        r'Derive it .* declare `name` and `pools_over_space`',
    ):
        FeatureNet(plugins=[plain])


@MODELS.register_module(force=True)
class NeverZero(AddOne):
    starts_as_identity = True
    zero_at_start = ('weight',)


def test_a_plugin_that_would_not_start_as_the_identity_is_refused() -> None:
    wrong = {'cfg': {'type': 'NeverZero'}, 'position': 'after_add'}

    with pytest.raises(ConfigError, match="NeverZero.*'weight' is none of"):
        FeatureNet(plugins=[wrong])


@pytest.mark.parametrize(
    'kind', ['SCSE3D', 'CBAM3D', 'CoordAttention3D', 'NonLocal3D']
)
def test_our_plugins_start_as_the_identity(kind: str) -> None:
    cfg = {'type': kind}
    if kind != 'NonLocal3D':
        cfg['identity_start'] = True

    assert ResBlock3D(
        2, 2, plugins=[{'cfg': cfg, 'position': 'after_add'}]
    ).plugin_names['after_add']


def test_a_wrong_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="AddOne: has no argument 'amonut'"):
        FeatureNet(plugins=[plugin(amonut=2)])
