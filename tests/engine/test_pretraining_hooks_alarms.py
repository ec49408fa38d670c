"""Alarms of pre-training: collapse to a constant, loss of rank."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub

from lungdet.apis import load_config, train
from lungdet.engine import CollapseAlarmHook, read_backbone
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from lungdet.engine.pretraining_hooks import collapse_alarms, rank_alarms
from lungdet.registry import HOOKS
from tests.engine.runs import NO_VALIDATION, ConstantHead, detector


def alarm_runner(**progress: int) -> SimpleNamespace:
    lines: list[str] = []
    return SimpleNamespace(
        message_hub=MessageHub.get_instance('alarm'),
        logger=SimpleNamespace(warning=lines.append),
        lines=lines,
        **progress,
    )


def test_alarms_by_hand() -> None:
    good = {'spread': 0.8, 'vs_constant': 0.4, 'vs_copy': 0.3}

    assert collapse_alarms(good) == []
    assert collapse_alarms({}) == []
    (alarm,) = collapse_alarms({**good, 'spread': 0.05})
    assert 'spread is 0.050' in alarm
    (alarm,) = collapse_alarms({**good, 'vs_constant': 1.0})
    assert 'best constant' in alarm
    (alarm,) = collapse_alarms({**good, 'vs_copy': float('nan')})
    assert 'copying the input' in alarm


def test_collapsed_run_raises_the_alarm_and_carries_it(
    genesis_config: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(genesis_config)
    config.model.head = {'type': ConstantHead.__name__}
    for hook in config.custom_hooks:
        if hook.type == 'CollapseAlarmHook':
            hook.begin = 5

    train(config, work_dir=tmp_path / 'run')

    log = ''.join(p.read_text() for p in (tmp_path / 'run').rglob('*.log'))
    assert 'COLLAPSE ALARM: iteration 8: the output is nearly one' in log
    assert 'COLLAPSE ALARM: iteration 4:' not in log  # too early to say
    weights = tmp_path / 'run' / 'backbone.safetensors'
    alarms = read_backbone(weights)[1]['alarms']
    assert any('spread is 0.000' in alarm for alarm in alarms)
    train(detector(tiny_config, weights), work_dir=tmp_path / 'w')
    log = ''.join(p.read_text() for p in (tmp_path / 'w').rglob('*.log'))
    assert 'its training ended with: the output is nearly one constant' in log


@HOOKS.register_module(force=True)
class RedundantChannelsHook(Hook):
    """Makes all channels of each layer of the backbone alike."""

    def after_train_iter(self, runner: Any, *args: Any, **kw: Any) -> None:
        with torch.no_grad():
            for weight in runner.model.backbone.parameters():
                weight.fill_(weight.mean())


def alarm_log(run: Path) -> list[str]:
    lines = '\n'.join(p.read_text() for p in run.rglob('*.log')).splitlines()
    return [line for line in lines if 'COLLAPSE ALARM' in line]


def test_loss_of_rank_raises_the_alarm_and_a_detector_repeats_it(
    genesis_config: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        genesis_config, {**NO_VALIDATION, 'train_cfg.max_epochs': 1}
    )
    config.custom_hooks.append({'type': 'RedundantChannelsHook'})

    train(config, work_dir=tmp_path / 'run')

    (line,) = (x for x in alarm_log(tmp_path / 'run') if '(rank)' in x)
    assert 'iteration 4: the last features vary in 1.0 directions' in line
    assert 'alarm below 50% of it). A detector may learn slower' in line
    saved = read_checkpoint(tmp_path / 'run')['runtime']
    assert f'untrained network in {saved["fresh_rank"]:.1f} on' in line
    assert 2 < saved['fresh_rank'] < 8  # of 8 channels
    weights = tmp_path / 'run' / 'backbone.safetensors'
    (alarm,) = (
        a for a in read_backbone(weights)[1]['alarms'] if '(rank)' in a
    )
    train(detector(tiny_config, weights), work_dir=tmp_path / 'w')
    log = ''.join(p.read_text() for p in (tmp_path / 'w').rglob('*.log'))
    assert f'its training ended with: {alarm}' in log


def test_rank_is_compared_with_an_untrained_network(
    genesis_config: Path, tmp_path: Path
) -> None:
    """A run at rate 0 has exactly the rank of its start; continued from other
    weights, or resumed, it is still compared with untrained ones."""
    options = {**NO_VALIDATION, 'train_cfg.max_epochs': 1}
    config = load_config(genesis_config, options)
    config.optim_wrapper.optimizer.lr = 0.0
    config.optim_wrapper.optimizer.weight_decay = 0.0
    train(config, work_dir=tmp_path / 'first')
    fresh = read_checkpoint(tmp_path / 'first')['runtime']['fresh_rank']

    redundant = read_checkpoint(tmp_path / 'first')
    for weight in redundant['state_dict'].values():
        weight.fill_(weight.float().mean())
    write_checkpoint(tmp_path / 'redundant.pth', redundant)
    config.load_from = str(tmp_path / 'redundant.pth')
    train(config, work_dir=tmp_path / 'second')
    saved = read_checkpoint(tmp_path / 'second')['runtime']
    assert saved['fresh_rank'] == fresh
    (alarm,) = saved['rank_alarms']
    assert f'untrained network in {fresh:.1f} on' in alarm

    kept = read_checkpoint(tmp_path / 'second')
    kept['runtime']['fresh_rank'] = 6.5
    write_checkpoint(tmp_path / 'second' / 'epoch_1.pth', kept)
    config.load_from = None
    config.train_cfg.max_epochs = 2
    train(config, work_dir=tmp_path / 'second', resume='auto')
    saved = read_checkpoint(tmp_path / 'second')
    assert saved['meta']['epoch'] == 2
    assert saved['runtime']['fresh_rank'] == 6.5
    assert 'untrained network in 6.5 on' in saved['runtime']['rank_alarms'][0]


def test_rank_alarm_by_hand() -> None:
    assert rank_alarms(7.0, 14.0) == []
    assert rank_alarms(20.0, 14.0) == []
    (alarm,) = rank_alarms(3.2, 14.0)
    assert 'vary in 3.2 directions' in alarm and 'network in 14.0' in alarm
    assert len(rank_alarms(float('nan'), 14.0)) == 1
    assert rank_alarms(3.2, 14.0, min_ratio=0.2) == []


def test_alarm_of_training_steps_needs_no_validation() -> None:
    hub = MessageHub.get_instance('alarm')
    lines: list[str] = []
    runner = SimpleNamespace(
        iter=400,
        max_iters=1000,
        message_hub=hub,
        logger=SimpleNamespace(warning=lines.append),
    )
    hook = CollapseAlarmHook()

    hook.after_train_iter(runner, 0, outputs={'spread': torch.tensor(0.02)})
    hook.after_train_epoch(runner)
    assert 'spread is 0.020' in lines[0] and len(lines) == 1
    hook.after_train_iter(runner, 0, outputs={'spread': torch.tensor(0.9)})
    hook.after_train_epoch(runner)
    assert len(lines) == 1 and hub.get_info('train_alarms') == []


def test_alarm_after_validation_looks_at_all_its_numbers() -> None:
    runner = alarm_runner(iter=400, max_iters=1000)
    metrics = {'restore/spread': 0.8, 'restore/vs_constant': 0.4}

    CollapseAlarmHook().after_val_epoch(
        runner, {**metrics, 'restore/vs_copy': 1.5}
    )

    (line,) = runner.lines
    assert 'iteration 400: the loss is 1.50 of that of copying' in line
    assert len(runner.message_hub.get_info('val_alarms')) == 1
    CollapseAlarmHook().after_val_epoch(
        runner, {**metrics, 'restore/vs_copy': 0.3}
    )
    assert runner.message_hub.get_info('val_alarms') == []


def test_alarm_of_a_short_run_begins_at_its_half() -> None:
    hook = CollapseAlarmHook(begin=200)
    for step, max_iters, num in (
        (9, 20, 0),
        (10, 20, 1),
        (199, 1000, 0),
        (200, 1000, 1),
    ):
        runner = alarm_runner(iter=step, max_iters=max_iters)
        hook.after_val_epoch(runner, {'restore/spread': 0.0})
        assert len(runner.lines) == num, (step, max_iters)


def test_alarms_of_the_validation_reach_the_next_checkpoint(
    genesis_config: Path, tmp_path: Path
) -> None:
    """Steps know nothing of the copied input. The checkpoint of epoch 2 is
    written after them and before that epoch's validation."""
    config = load_config(
        genesis_config,
        {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1},
    )
    config.val_dataloader.dataset.pipeline = [
        t
        for t in config.val_dataloader.dataset.pipeline
        if t.type in ('LoadLungCrop', 'PackPair')
    ]
    for hook in config.custom_hooks:
        if hook.type == 'CollapseAlarmHook':
            hook.begin = 0

    train(config, work_dir=tmp_path / 'run')

    saved = read_checkpoint(tmp_path / 'run')
    alarms = [
        alarm
        for name, stored in saved['runtime'].items()
        if name.endswith('alarms')
        for alarm in stored
    ]
    assert saved['meta']['epoch'] == 2
    assert any('copying the input' in alarm for alarm in alarms)
