"""How much of a network weights must fill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.partial_load import (
    fill_caveats,
    fill_module,
    unused_tensors,
)
from lungdet.errors import CheckpointError
from lungdet.models.plugins import GRN3D
from tests.engine.runs import NO_VALIDATION
from tests.killed_training import assert_same


def small() -> nn.Sequential:
    """20 convolutions: 40 tensors."""
    return nn.Sequential(*(nn.Conv3d(1, 1, 1) for _ in range(20)))


def test_transfer_needs_95_percent_of_the_tensors() -> None:
    model = small()
    tensors = {
        k: torch.full_like(v, 7) for k, v in small().state_dict().items()
    }

    enough = dict(list(tensors.items())[2:])  # 38 of 40
    assert 'fills 38 of 40' in fill_module(model, enough, 'file')
    assert model[1].bias.item() == 7 and model[0].bias.item() != 7
    model = small()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    few = dict(list(tensors.items())[2:])
    few['3.weight'] = torch.zeros(1, 2, 1, 1, 1)
    with pytest.raises(
        CheckpointError,
        match=r'fills 37 of 40.*0\.weight, 0\.bias, 3\.weight \(another shape',
    ):
        fill_module(model, few, 'file')
    assert_same(dict(model.state_dict()), before)
    wrong = {f'backbone.{k}': v for k, v in tensors.items()}
    with pytest.raises(CheckpointError, match='fills 0 of 40.*and 20 more'):
        fill_module(model, wrong, 'file')


def test_whole_numbers_are_no_weights() -> None:
    model = nn.Sequential(nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1))
    tensors = dict(model.state_dict())

    fill_module(model, tensors, 'file')  # the norm counts batches in int64
    tensors['0.weight'] = tensors['0.weight'].long()

    with pytest.raises(
        CheckpointError, match=r'0\.weight of type torch.int64'
    ):
        fill_module(model, tensors, 'file')


def test_tensors_that_a_network_lacks_are_counted() -> None:
    model = small()
    tensors = dict(model.state_dict())
    assert not unused_tensors(model, tensors, 'file')
    more = {'foo.bar': torch.zeros(2), 'rpn_head.loss_cls.mean': torch.ones(1)}
    wrong = {'3.weight': torch.zeros(2)}  # another shape

    (caveat,) = unused_tensors(model, tensors | more | wrong, 'file')

    assert '2 of its 42 tensors are not used, such as 3.weight' in caveat


def test_a_test_tells_of_tensors_that_it_does_not_use(
    trained: Path,
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = read_checkpoint(trained)
    for key in ('state_dict', 'ema_state_dict'):
        if key in checkpoint:
            checkpoint[key]['foo.bar'] = torch.zeros(3)
    torch.save(checkpoint, tmp_path / 'more.pth')

    run_test(tiny_config, tmp_path / 'more.pth', out=tmp_path / 'out')

    shown = capsys.readouterr().out
    assert 'caveat: ' in shown and 'such as foo.bar' in shown


def test_tensors_that_weights_lack_are_counted() -> None:
    """But not those of a gate, which may be added, nor of a loss."""
    model = nn.Module()
    model.add_module('layers', small())
    model.add_module('gate', GRN3D(3))
    head = nn.Module()
    head.add_module('loss_cls', nn.BatchNorm3d(1))
    model.add_module('head', head)
    tensors = {
        k: v for k, v in model.state_dict().items() if k.startswith('layers')
    }
    assert not fill_caveats(model, tensors, 'file')
    tensors['layers.3.bias'] = torch.zeros(2)  # another shape
    for number in (0, 1, 2):
        del tensors[f'layers.{number}.bias']

    unused, unfilled = fill_caveats(model, tensors, 'file')

    assert 'such as layers.3.bias' in unused
    assert 'does not fill 4 of the 40 tensors' in unfilled
    assert '(layers.0.bias, layers.1.bias, layers.2.bias and 1 more)' in (
        unfilled
    )


def test_a_training_tells_which_layers_weights_do_not_fill(
    trained: Path,
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = read_checkpoint(trained)
    del checkpoint['state_dict']['rpn_head.logits.bias']
    torch.save(checkpoint, tmp_path / 'less.pth')
    options = {
        **NO_VALIDATION,
        'train_cfg.max_epochs': 1,
        'load_from': str(tmp_path / 'less.pth'),
    }

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    shown = capsys.readouterr().out
    assert 'caveat: ' in shown and '(rpn_head.logits.bias), which keep' in (
        shown
    )


def test_weights_of_another_model_are_refused(
    trained: Path, tiny_config: Path
) -> None:
    with pytest.raises(CheckpointError, match='of the values'):
        run_test(
            tiny_config,
            trained,
            cfg_options={'model.backbone.channels': [8, 16, 16, 16, 16, 8]},
            out=trained / 'test',
        )


def test_gates_may_be_added_but_values_are_needed() -> None:
    """A large layer and small ones: few values in many tensors."""
    model = nn.Sequential(nn.Linear(30, 30), *(nn.PReLU() for _ in range(8)))
    large = {
        name: torch.full_like(value, 7)
        for name, value in model.state_dict().items()
        if name.startswith('0.')
    }

    with pytest.raises(CheckpointError, match=r'fills 2 of 10.*99\.1%'):
        fill_module(model, large, 'file')
    fill_module(model, large, 'file', min_tensors=0.0)
    assert model[0].bias[0].item() == 7
    del large['0.weight']
    with pytest.raises(CheckpointError, match='Missing: 0.weight, 1.weight'):
        fill_module(model, large, 'file', min_tensors=0.0)
