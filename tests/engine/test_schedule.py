"""Resuming with another learning rate, schedule, batch, optimiser or seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lungdet.apis import train
from lungdet.engine import LungRunner
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.schedule import changed_keys, training_schedule
from lungdet.errors import CheckpointError
from tests.engine.runs import NO_VALIDATION

LR = 'optim_wrapper.optimizer.lr'


def resumed(
    config: Path, work_dir: Path, *, new_schedule: bool = True, **options: Any
) -> LungRunner:
    return train(
        config,
        work_dir=work_dir,
        resume='auto',
        new_schedule=new_schedule,
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 2, **options},
    )


def rates(runner: LungRunner) -> list[float]:
    groups = runner.optim_wrapper.optimizer.param_groups
    return [group['lr'] for group in groups]


@pytest.mark.parametrize(
    ('key', 'value', 'before'),
    [
        (LR, 0.5, '0.002'),
        ('optim_wrapper.optimizer.type', 'Adam', "'AdamW'"),
        ('optim_wrapper.optimizer.weight_decay', 0.5, '0.01'),
        ('optim_wrapper.clip_grad.max_norm', 1.0, '5.0'),
        ('param_scheduler.1.milestones', [1], r'\[2\]'),
        ('randomness.seed', 5, '0'),
    ],
)
def test_another_schedule_is_refused_with_both_values(
    trained: Path, tiny_config: Path, key: str, value: Any, before: str
) -> None:
    saved = sorted(trained.glob('*/config.py'))

    with pytest.raises(
        CheckpointError, match=f'{key} was {before} and is .*--resume-with-new'
    ):
        resumed(tiny_config, trained, new_schedule=False, **{key: value})

    assert len(sorted(trained.glob('*.pth'))) == 2
    assert saved == sorted(trained.glob('*/config.py'))


@pytest.mark.parametrize('new_schedule', [False, True])
def test_averaged_weights_are_not_trained_further(
    trained: Path, tiny_config: Path, new_schedule: bool
) -> None:
    """Only the hook that averaged them takes the trained ones."""
    assert 'ema_state_dict' in read_checkpoint(trained)

    with pytest.raises(CheckpointError, match=r'epoch_1\.pth: .*EMAHook'):
        resumed(
            tiny_config, trained, new_schedule=new_schedule, custom_hooks=[]
        )


def test_late_batches_are_another_schedule() -> None:
    before, after = (
        training_schedule({'train_dataloader': {'batch_size': 8, **more}})
        for more in ({}, {'batch_sampler': {'late_batch_size': 3}})
    )

    key = 'train_dataloader.batch_sampler.late_batch_size'
    assert changed_keys(before, after) == [key]
    # as of a version without batch samplers
    older = {k: v for k, v in before.items() if 'batch_sampler' not in k}
    assert older != before and changed_keys(older, before) == []


def test_more_epochs_are_no_other_schedule(
    trained: Path, tiny_config: Path
) -> None:
    assert resumed(tiny_config, trained, new_schedule=False).epoch == 2


def test_new_schedule_is_that_of_a_run_that_had_it_from_the_start(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    options = {
        LR: 0.01,
        'param_scheduler.0.end': 7,
        'param_scheduler.1.milestones': [1],
    }

    later = resumed(tiny_config, trained, **options)

    first = train(
        tiny_config,
        work_dir=tmp_path / 'first',
        cfg_options={
            **NO_VALIDATION,
            'train_cfg.max_epochs': 2,
            **options,
        },
    )
    assert rates(later) == pytest.approx(rates(first), rel=1e-12)
    assert rates(later)[0] == pytest.approx(0.005)
    assert (later.iter, later.epoch) == (first.iter, first.epoch)
    # what it saves says what was used, so it resumes without the option
    resumed(tiny_config, trained, new_schedule=False, **options)


def test_another_batch_goes_on_at_the_end_of_an_epoch(
    trained: Path, tiny_config: Path, capsys: pytest.CaptureFixture
) -> None:
    runner = resumed(
        tiny_config, trained, **{'train_dataloader.batch_size': 1}
    )

    assert (runner.epoch, runner.iter) == (2, 18)
    assert 'state of the optimiser is kept' in capsys.readouterr().out


def test_another_batch_within_an_epoch_is_refused(
    trained: Path, tiny_config: Path
) -> None:
    (trained / 'last_checkpoint').write_text('iter_3.pth')

    with pytest.raises(CheckpointError, match='written within an epoch of 4'):
        resumed(tiny_config, trained, **{'train_dataloader.batch_size': 1})


def test_another_optimiser_starts_its_state_anew(
    trained: Path, tiny_config: Path, capsys: pytest.CaptureFixture
) -> None:
    runner = resumed(
        tiny_config,
        trained,
        **{
            'optim_wrapper.optimizer': {
                '_delete_': True,
                'type': 'SGD',
                'lr': 1e-4,
                'weight_decay': 0.0,
            }
        },
    )

    assert type(runner.optim_wrapper.optimizer).__name__ == 'SGD'
    assert 'state of the optimiser starts anew' in capsys.readouterr().out
