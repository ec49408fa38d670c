from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models import ResBlock3D
from tests.models.toy_plugins import plugin


def test_plugins_run_in_order_at_their_position() -> None:
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
    gate = {'cfg': {'type': 'SigmoidGate'}, 'position': 'after_add'}
    x = torch.rand(1, 2, 3, 4, 5)
    plain = ResBlock3D(2, 2).eval()
    # strict=False: only the toy's own weight is new
    outs = {}
    for name, plugins in {
        'gate last': [plugin('after_add', amount=3.0), gate],
        'gate first': [gate, plugin('after_add', amount=3.0)],
    }.items():
        block = ResBlock3D(2, 2, plugins=plugins).eval()
        block.load_state_dict(plain.state_dict(), strict=False)
        outs[name] = block(x)

    assert torch.allclose(outs['gate last'], torch.sigmoid(plain(x) + 3))
    assert torch.allclose(outs['gate first'], torch.sigmoid(plain(x)) + 3)


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
        2, 3, plugins=[{'cfg': {'type': 'SigmoidGate'}, 'position': position}]
    )

    block(torch.rand(2, 2, 3, 4, 5)).sum().backward()

    assert float(block.conv1.weight.grad.abs().sum()) > 0


def test_plugin_that_changes_the_shape_is_refused() -> None:
    block = ResBlock3D(
        2, 2, plugins=[{'cfg': {'type': 'Halve'}, 'position': 'after_add'}]
    )

    with pytest.raises(ValueError, match='changed the shape'):
        block(torch.rand(2, 2, 4, 4, 4))


@pytest.mark.parametrize(
    'norm_cfg', [{'type': 'BN3d'}, {'type': 'GN', 'num_groups': 2}]
)
def test_zero_init_last_starts_a_block_as_its_shortcut(norm_cfg: dict) -> None:
    x = torch.rand(2, 4, 3, 5, 6)
    options = {'norm_cfg': norm_cfg, 'zero_init_last': True}
    same = ResBlock3D(4, 4, **options)
    wider = ResBlock3D(4, 6, **options)
    assert torch.equal(same(x), x)  # ReLU leaves what is not negative

    for block in (same, wider):
        block.init_cfg = {'type': 'Constant', 'layer': 'Conv3d', 'val': 3}
        block.init_weights()

    assert torch.equal(same(x), x)
    assert torch.equal(wider(x), wider.shortcut(x).relu())
    wider(x).sum().backward()
    assert float(wider.norm2.weight.grad.abs().sum()) > 0


def test_zero_init_last_needs_a_norm_with_a_weight() -> None:
    with pytest.raises(ConfigError, match='InstanceNorm3d has no weight'):
        ResBlock3D(4, 4, norm_cfg={'type': 'IN3d'}, zero_init_last=True)


def test_norms_are_reached_by_their_role() -> None:
    block = ResBlock3D(4, 4, norm_cfg={'type': 'GN', 'num_groups': 2})

    assert (block.norm1, block.norm2) == (block.gn1, block.gn2)
