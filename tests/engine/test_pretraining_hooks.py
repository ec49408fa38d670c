"""Hooks of pre-training, and runs that they make."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lungdet.apis import load_config, train
from lungdet.engine import (
    RestorationPicturesHook,
    StartWithMSEHook,
    read_backbone,
)
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.errors import ConfigError
from lungdet.models.losses import L1Loss
from tests.engine.runs import NO_VALIDATION, detector
from tests.killed_training import assert_same


def test_owed_validation_uses_the_loss_of_the_step_before() -> None:
    """A run that was killed between a step and its validation."""
    model = SimpleNamespace(criterion=L1Loss())
    runner = SimpleNamespace(iter=7, model=model)
    hook = StartWithMSEHook(iters=7)

    hook.before_train(runner)
    assert model.criterion.kind == 'mse'  # steps 0 to 6 are of it
    hook.before_train_iter(runner, 0)
    assert model.criterion.kind == 'l1'


def test_squared_error_leads_and_the_models_loss_follows() -> None:
    model = SimpleNamespace(criterion=L1Loss())
    runner = SimpleNamespace(model=model, iter=0)
    hook = StartWithMSEHook(iters=2)
    hook.before_train(runner)

    kinds = []
    for runner.iter in range(4):
        hook.before_train_iter(runner, 0)
        kinds.append(model.criterion.kind)

    assert kinds == ['mse', 'mse', 'l1', 'l1']


def test_output_starts_at_the_mean_of_the_crops(
    genesis_config: Path, tmp_path: Path
) -> None:
    config = load_config(genesis_config, {**NO_VALIDATION})
    config.optim_wrapper.optimizer.lr = 0.0
    config.optim_wrapper.optimizer.weight_decay = 0.0
    config.train_cfg.max_epochs = 1

    runner = train(config, work_dir=tmp_path / 'run')

    data = runner.train_dataloader.dataset
    mean = torch.stack([data[k]['targets'].mean() for k in range(8)]).mean()
    model = runner.model
    assert model.data_mean.item() == pytest.approx(mean.item(), rel=1e-5)
    assert model.head.out.bias.item() == pytest.approx(
        mean.logit().item(), rel=1e-5
    )


def test_loaded_weights_keep_their_mean(
    genesis_run: Path, genesis_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        genesis_config,
        {
            **NO_VALIDATION,
            'train_cfg.max_epochs': 1,
            'load_from': str(genesis_run / 'epoch_3.pth'),
        },
    )
    config.optim_wrapper.optimizer.lr = 0.0
    config.optim_wrapper.optimizer.weight_decay = 0.0

    runner = train(config, work_dir=tmp_path / 'run')

    loaded = read_checkpoint(genesis_run)['state_dict']
    mean = loaded['data_mean'].logit().item()
    assert loaded['head.out.bias'].item() != pytest.approx(mean, abs=1e-6)
    assert torch.equal(runner.model.head.out.bias, loaded['head.out.bias'])


def test_pictures_leave_the_model_as_it_was(
    genesis_config: Path, tmp_path: Path
) -> None:
    runner = train(
        load_config(
            genesis_config, {**NO_VALIDATION, 'train_cfg.max_epochs': 1}
        ),
        work_dir=tmp_path / 'run',
    )
    model = runner.model.train()
    before = {name: v.clone() for name, v in model.state_dict().items()}

    RestorationPicturesHook(interval=1).after_train_epoch(runner)

    assert (tmp_path / 'run' / 'pictures' / 'epoch_0002.png').is_file()
    assert_same(dict(model.state_dict()), before)
    assert model.training


def test_run_leaves_numbers_and_pictures(genesis_run: Path) -> None:
    assert (genesis_run / 'pictures' / 'epoch_0003.png').stat().st_size > 5000
    (scalars,) = genesis_run.rglob('scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    steps = [row for row in rows if 'loss_restoration' in row]
    checks = [row for row in rows if 'restore/l1' in row]
    assert len(steps) == 12 and len(checks) == 2
    assert all(0 <= row['spread'] for row in steps)
    for key in ('l1', 'mse', 'vs_constant', 'vs_copy', 'spread', 'saturated'):
        assert f'restore/{key}' in checks[-1]


def test_masked_autoencoder_goes_the_same_way(
    genesis_config: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        genesis_config,
        {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1},
    )
    config.model.type = 'MaskedAutoencoder'
    config.model.loss.type = 'MSELoss'
    config.model.block = 8
    for name in ('train_dataloader', 'val_dataloader'):
        dataset = config[name].dataset
        dataset.pipeline = [
            t
            for t in dataset.pipeline
            if t.type in ('LoadLungCrop', 'RepeatedFlip3D', 'PackPair')
        ]

    train(config, work_dir=tmp_path / 'run')

    log = ''.join(p.read_text() for p in (tmp_path / 'run').rglob('*.log'))
    assert 'restore/l1_inside_hidden' in log and 'side_none' not in log
    weights = tmp_path / 'run' / 'backbone.safetensors'
    assert read_backbone(weights)[1]['method'] == 'MaskedAutoencoder'
    train(detector(tiny_config, weights), work_dir=tmp_path / 'w')


def test_bfloat16_reaches_training_and_validation(
    genesis_config: Path, tmp_path: Path
) -> None:
    runner = train(
        load_config(genesis_config, {'train_cfg.max_epochs': 1}),
        work_dir=tmp_path / 'run',
        amp=True,
    )

    assert runner.model.test_cfg['bf16']
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'+model.loss_on': 'half'}, "loss_on='half'; choose one of"),
        ({'model.head.channels': (8,)}, r'channels=\(8,\)'),
        (
            {'train_dataloader.dataset.pipeline.0.size': (32, 40, 32)},
            r'pipeline\.0\.size: \(32, 40, 32\) .* multiples of 16',
        ),
    ],
    ids=['loss', 'head', 'crop'],
)
def test_configs_that_no_network_takes_end_in_a_line(
    options: dict, message: str, genesis_config: Path, tmp_path: Path
) -> None:
    """A LungdetError, in building as in the first step, has no traceback."""
    options = {
        **NO_VALIDATION,
        'train_dataloader.dataset.crops_per_scan': 2,
        **options,
    }

    with pytest.raises(ConfigError, match=message):
        train(genesis_config, work_dir=tmp_path / 'run', cfg_options=options)
