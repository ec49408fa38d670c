"""Hooks of every training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.logging import MessageHub

from lungdet.apis import load_config, train
from lungdet.engine import HeadScheduleHook, LungCheckpointHook, LungRunner
from lungdet.engine.hooks import with_checkpoint_hook
from lungdet.errors import ConfigError, DivergenceError


def test_non_finite_loss_stops_with_the_samples(
    tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises(DivergenceError, match=r'loss_rpn_cls.*1\.\d epoch'):
        train(
            tiny_config,
            work_dir=tmp_path / 'w',
            cfg_options={
                'optim_wrapper.optimizer.lr': 1e30,
                'optim_wrapper.clip_grad': None,
            },
        )


def fake_runner(
    folder: Path,
    *,
    steps: int = 5,
    accumulative_counts: int = 1,
    **values: Any,
) -> Any:
    """What a checkpoint hook asks a runner for; it notes what is saved."""
    saved: list[str] = []

    def save_checkpoint(out_dir: Path, name: str, *, epoch: int) -> None:
        saved.append(name)
        (Path(out_dir) / name).write_bytes(b'weights')

    lines: list[str] = []
    hub = MessageHub.get_instance('hooks')
    return SimpleNamespace(
        rank=0,
        work_dir=str(folder),
        message_hub=hub,
        logger=SimpleNamespace(warning=lines.append),
        lines=lines,
        save_checkpoint=save_checkpoint,
        saved=saved,
        train_dataloader=range(steps),
        cfg=SimpleNamespace(
            optim_wrapper={'accumulative_counts': accumulative_counts}
        ),
        **values,
    )


def test_heads_learn_the_epoch_and_models_without_are_left_alone() -> None:
    epochs: list[int] = []
    model = SimpleNamespace(set_epoch=epochs.append)

    for epoch in (0, 7):
        runner = SimpleNamespace(model=model, epoch=epoch)
        HeadScheduleHook().before_train_epoch(runner)
    HeadScheduleHook().before_train_epoch(
        SimpleNamespace(model=SimpleNamespace(), epoch=0)
    )

    assert epochs == [1, 8]


def test_newest_checkpoints_are_kept_and_the_last_epoch_is_saved(
    tmp_path: Path,
) -> None:
    hook = LungCheckpointHook(interval=2, iter_interval=5, max_keep=2)
    runner = fake_runner(tmp_path, max_epochs=5)
    (tmp_path / '.tmp-1-epoch_9.pth').write_bytes(b'half')

    hook.before_train(runner)
    for runner.iter in range(11):
        hook.after_train_iter(runner, 0)
    for runner.epoch in range(5):
        hook.after_train_epoch(runner)

    assert runner.saved == [
        *('iter_5.pth', 'iter_10.pth'),
        *('epoch_2.pth', 'epoch_4.pth', 'epoch_5.pth'),
    ]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ['epoch_4.pth', 'epoch_5.pth', 'last_checkpoint']
    assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_5.pth'


@pytest.mark.parametrize(('steps', 'iter_interval'), [(11, 0), (12, 5)])
def test_checkpoints_between_two_updates_are_refused(
    tmp_path: Path, steps: int, iter_interval: int
) -> None:
    """They would not contain the gradients that have been added up."""
    hook = LungCheckpointHook(iter_interval=iter_interval)
    runner = fake_runner(tmp_path, steps=steps, accumulative_counts=4)

    with pytest.raises(ConfigError, match='accumulative_counts: 4 does not'):
        hook.before_train(runner)
    LungCheckpointHook(iter_interval=8).before_train(
        fake_runner(tmp_path, steps=12, accumulative_counts=4)
    )


def test_best_checkpoint_is_that_of_the_highest_score(tmp_path: Path) -> None:
    hook = LungCheckpointHook(save_best='froc/cpm')
    runner = fake_runner(tmp_path, epoch=1)

    for score in (0.4, 0.3, 0.6):
        hook.after_val_epoch(runner, {'froc/cpm': score})
    hook.after_val_epoch(runner, {'restore/l1': 0.1})

    assert runner.saved == ['best.pth', 'best.pth']
    assert runner.message_hub.get_info('best_score') == 0.6
    assert "'froc/cpm' is not among the metrics" in runner.lines[0]


def test_training_without_default_hooks_saves_its_epochs(
    tiny_config: Path, tmp_path: Path
) -> None:
    """mmengine's hook saves in a way that the runner does not take."""
    options = {
        'default_hooks': None,
        'train_cfg.max_epochs': 1,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
    }

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    assert (tmp_path / 'w' / 'last_checkpoint').read_text() == 'epoch_1.pth'


@pytest.mark.parametrize(
    ('options', 'key'),
    [
        (
            {'default_hooks.checkpoint': {'type': 'CheckpointHook'}},
            'default_hooks.checkpoint',
        ),
        ({'custom_hooks': [{'type': 'CheckpointHook'}]}, 'custom_hooks'),
    ],
)
def test_mmengines_checkpoint_hook_is_refused_at_the_start(
    tiny_config: Path, tmp_path: Path, options: dict[str, Any], key: str
) -> None:
    config = load_config(tiny_config, options)
    config.work_dir = str(tmp_path / 'w')

    with pytest.raises(ConfigError, match=f'^{key}: CheckpointHook writes no'):
        LungRunner.from_cfg(config)


def test_checkpoint_hooks_may_be_derived_or_left_out() -> None:
    class Derived(LungCheckpointHook):
        pass

    for hook in (Derived(), None):
        hooks = with_checkpoint_hook({'checkpoint': hook}, [LoggerHook()])
        assert hooks == {'checkpoint': hook}
    given = {'checkpoint': {'interval': 3}}
    assert with_checkpoint_hook(given, ())['checkpoint'] == {
        'type': 'LungCheckpointHook',
        'interval': 3,
    }
    assert given == {'checkpoint': {'interval': 3}}
    for hook in (CheckpointHook(), LoggerHook()):
        with pytest.raises(ConfigError, match='LungCheckpointHook'):
            with_checkpoint_hook({'checkpoint': hook}, ())
