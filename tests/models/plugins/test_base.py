from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models import AttentionPlugin, FeatureNet
from lungdet.models.plugins import pooling_plugins


def declare(**attributes: object) -> type[AttentionPlugin]:
    return type('Declared', (AttentionPlugin,), attributes)


@pytest.mark.parametrize(
    ('attributes', 'missing'),
    [
        ({}, 'name'),
        ({'pools_over_space': True}, 'name'),
        ({'name': 'gate'}, 'pools_over_space'),
    ],
)
def test_a_class_that_declares_too_little_is_refused(
    attributes: dict, missing: str
) -> None:
    with pytest.raises(ConfigError, match=f"Declared: .* '{missing}'"):
        declare(**attributes)


@pytest.mark.parametrize('name', ['my.att', '', 'my att', 5])
def test_a_name_that_cannot_be_an_attribute_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match='Declared: name=.* an attribute'):
        declare(name=name, pools_over_space=True)


def test_a_subclass_keeps_what_its_parent_declares() -> None:
    parent = declare(name='gate', pools_over_space=True)

    child = type('Child', (parent,), {'name': 'other'})

    assert (child.name, child.pools_over_space) == ('other', True)


def test_identity_start_is_of_the_class_or_asked_for() -> None:
    plain = declare(name='a', pools_over_space=True)
    always = declare(name='b', pools_over_space=True, starts_as_identity=True)

    assert not plain.is_identity_when_built({'type': 'Declared'})
    assert plain.is_identity_when_built({'identity_start': True})
    assert not plain.is_identity_when_built({'identity_start': False})
    assert always.is_identity_when_built({})


class TwoLayers(AttentionPlugin):
    name = 'two_layers'
    pools_over_space = False
    zero_at_start = ('out.1',)

    def __init__(self, identity_start: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
        self.identity_start = identity_start
        self.init_weights()


@pytest.mark.parametrize('asked', [True, False])
def test_declared_layers_are_zero_where_it_starts_as_the_identity(
    asked: bool,
) -> None:
    module = TwoLayers(asked)

    is_zero = [not p.any() for p in module.out.parameters()]
    assert is_zero == [asked, asked]
    assert all(p.any() for p in module.inner.parameters())


class OneLayer(AttentionPlugin):
    name = 'one_layer'
    pools_over_space = False
    starts_as_identity = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (('ot.1',), r"'ot\.1' is none of its layers.*mean 'out\.1'"),
        (('scale',), r"'scale' is none .*They are out\.1; .*init_weights"),
        (('out.1', 'out'), "'out' is none of its layers"),
        (('out.0',), r"'out\.0' is none of its layers"),
        ('out.1', r"is a text; write \('out\.1',\)"),
    ],
)
def test_a_start_that_is_not_the_identity_is_refused(
    names: object, message: str
) -> None:
    kind = type('Wrong', (OneLayer,), {'zero_at_start': names})

    with pytest.raises(ConfigError, match=f'Wrong.zero_at_start: {message}'):
        kind().check_zero_at_start()
    kind.starts_as_identity = False
    kind().check_zero_at_start()


def test_arguments_that_change_no_number_define_nothing() -> None:
    kind = declare(
        name='a', pools_over_space=True, changes_no_number=('speed',)
    )
    cfg = {'type': 'Declared', 'speed': 2, 'width': 3}

    assert kind.defining_config(cfg) == {'type': 'Declared', 'width': 3}
    assert cfg['speed'] == 2


def test_pooling_plugins_are_named_once_and_sorted() -> None:
    net = FeatureNet(
        plugins=[
            {'cfg': {'type': name}, 'position': 'after_add'}
            for name in ('SE3D', 'DropBlock3D', 'CBAM3D')
        ]
    )

    assert pooling_plugins(net) == ['CBAM3D', 'SE3D']
    assert pooling_plugins(nn.Identity()) == []


def test_a_plugin_without_forward_says_so() -> None:
    kind = declare(name='a', pools_over_space=True)
    x: Tensor = torch.zeros(1, 2, 3, 4, 5)

    with pytest.raises(NotImplementedError):
        kind()(x)
