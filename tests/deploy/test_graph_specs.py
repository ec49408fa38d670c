from __future__ import annotations

import math

import pytest
import torch

from lungdet.deploy.graph_specs import TRACED, Axis, graph_specs
from lungdet.errors import ConfigError
from lungdet.models import EnsembleDetector
from tests.models.nets import narrow_net


def lengths(axes: tuple[Axis, ...], sizes: dict[str, int]) -> tuple[int, ...]:
    """Shape of a tensor: its axes evaluated as Python expressions."""
    return tuple(
        axis if isinstance(axis, int) else eval(axis, {}, dict(sizes))
        for axis in axes
    )


@pytest.mark.parametrize(
    'sizes', [TRACED, {'batch': 1, 'rois': 1, 'd': 1, 'h': 1, 'w': 2}]
)
def test_axes_are_those_of_the_tensors(sizes: dict[str, int]) -> None:
    specs = graph_specs(narrow_net().eval())

    assert [*specs] == ['backbone_rpn', 'rcnn', 'mask']
    for spec in specs.values():
        inputs = spec.example(sizes)
        with torch.no_grad():
            outputs = spec.layers(*inputs)
        for axes, tensor in zip(
            [*spec.inputs.values(), *spec.outputs.values()],
            [*inputs, *outputs],
            strict=True,
        ):
            assert tensor.shape == lengths(axes, sizes)


def test_layers_are_those_of_the_network_in_evaluation() -> None:
    net = narrow_net().eval()
    image = torch.randn(1, 1, 32, 32, 48)
    spec = graph_specs(net)['backbone_rpn']

    with torch.no_grad():
        *maps, logits, deltas = spec.layers(image)
        feats = net.extract_feat(image)
        expected = net.rpn_head(feats)

    for tensor, other in zip([*maps, logits, deltas], [*feats[1:], *expected]):
        assert torch.equal(tensor, other)
    modules = [
        m for s in graph_specs(net).values() for m in s.layers.modules()
    ]
    assert not any(module.training for module in modules)


def test_traced_sizes_differ_and_none_is_broadcast() -> None:
    # torch would fix axes of length 1 and give equal lengths one symbol
    axes = [TRACED[name] for name in 'dhw']

    assert len({*axes}) == 3 and min(TRACED.values()) > 1
    assert math.gcd(*axes) == 1


def test_heads_that_have_not_started_have_no_graph() -> None:
    net = narrow_net().eval()

    net.set_epoch(1)
    assert [*graph_specs(net)] == ['backbone_rpn']
    net.set_epoch(65)
    assert [*graph_specs(net)] == ['backbone_rpn', 'rcnn']


def test_other_detectors_are_refused() -> None:
    ensemble = EnsembleDetector.__new__(EnsembleDetector)

    with pytest.raises(ConfigError, match='EnsembleDetector: only a NoduleN'):
        graph_specs(ensemble)
