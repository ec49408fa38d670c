"""Optimisers: bfloat16, and few groups of parameters."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from lungdet.engine import BF16OptimWrapper
from lungdet.errors import ConfigError
from lungdet.ops import precision
from lungdet.registry import OPTIM_WRAPPERS


class Doubling(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.dtypes: list[torch.dtype] = []

    def forward(self) -> torch.Tensor:
        out = self.layer(torch.ones(1, 2))
        self.dtypes.append(out.dtype)
        return (out.float() ** 2).sum()


def test_bfloat16_trains_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda _: True)
    model = Doubling()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = BF16OptimWrapper(optimizer=sgd)
    before = model.layer.weight.clone()

    for _ in range(3):
        with wrapper.optim_context(model):
            loss = model()
        wrapper.update_params(loss)

    assert model.dtypes == [torch.bfloat16] * 3
    assert not torch.equal(before, model.layer.weight)
    if not torch.cuda.is_available():
        with pytest.raises(AssertionError, match='only available'):
            AmpOptimWrapper(optimizer=sgd)


@pytest.mark.parametrize('name', ['SGD', 'Adam', 'AdamW'])
def test_optimizers_of_configs_are_torchs_own(name: str) -> None:
    with DefaultScope.overwrite_default_scope('lungdet'):
        wrapper = build_optim_wrapper(
            torch.nn.Linear(1, 1),
            {'type': 'OptimWrapper', 'optimizer': {'type': name, 'lr': 0.1}},
        )

    assert type(wrapper.optimizer) is getattr(torch.optim, name)
    assert OPTIM_WRAPPERS.get('BF16OptimWrapper') is BF16OptimWrapper


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.Conv3d(2, 1, 3)
    )


def wrapper(
    net: nn.Module, constructor: str, custom_keys: dict | None = None
) -> torch.optim.Optimizer:
    settings = {
        'constructor': constructor,
        'optimizer': {'type': 'AdamW', 'lr': 0.1, 'weight_decay': 0.5},
        'paramwise_cfg': {
            'norm_decay_mult': 0.0,
            'bias_decay_mult': 0.0,
            'bypass_duplicate': True,
            'custom_keys': custom_keys or {'2.weight': {'lr_mult': 0.1}},
        },
    }
    with DefaultScope.overwrite_default_scope('lungdet'):
        return build_optim_wrapper(net, settings).optimizer


def settings_of(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict:
    """(learning rate, decay) of each parameter by name."""
    names = {id(p): name for name, p in net.named_parameters()}
    return {
        names[id(param)]: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for param in group['params']
    }


def test_equal_settings_are_one_group(net: nn.Module) -> None:
    merged = wrapper(net, 'MergedOptimWrapperConstructor')

    assert len(merged.param_groups) == 3  # decayed, not decayed, slow
    plain = wrapper(net, 'DefaultOptimWrapperConstructor')
    assert len(plain.param_groups) == 6
    assert settings_of(merged, net) == settings_of(plain, net)


@pytest.mark.parametrize('key', ['gnr', '3.weight', 'weigth'])
def test_a_custom_key_of_no_parameter_is_refused(
    net: nn.Module, key: str
) -> None:
    with pytest.raises(ConfigError, match=f"custom_keys: '{key}' is in the"):
        wrapper(net, 'MergedOptimWrapperConstructor', {key: {'lr_mult': 0.1}})


def test_custom_keys_are_parts_of_all_names(net: nn.Module) -> None:
    # of a frozen one too, and under its second name
    net[2].weight.requires_grad_(False)
    net.add_module('again', net[0])

    for key in ('2.weight', 'again', '.bias', '0'):
        wrapper(net, 'MergedOptimWrapperConstructor', {key: {'lr_mult': 0.1}})


def test_steps_are_those_of_single_groups(net: nn.Module) -> None:
    start = {k: v.clone() for k, v in net.state_dict().items()}
    ends = []
    for name in ('Default', 'Merged'):
        net.load_state_dict(start)
        optimizer = wrapper(net, f'{name}OptimWrapperConstructor')
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(2, 1, 7, 7, 7)).square().sum().backward()
            optimizer.step()
        ends.append({k: v.clone() for k, v in net.state_dict().items()})

    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key
