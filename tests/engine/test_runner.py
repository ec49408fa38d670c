"""Repairs of mmengine 0.10.7: each test fails without its repair.

Where stock mmengine can be asked directly, the test also shows its failure,
so that a release that mends it is noticed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from mmengine.runner import Runner

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.engine import LungRunner
from lungdet.errors import DivergenceError
from tests.engine.runs import NO_VALIDATION


def test_environment_is_logged_without_distutils_and_pkg_resources(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('distutils', 'pkg_resources'):
        monkeypatch.setitem(sys.modules, name, None)
    config = load_config(tiny_config)
    config.work_dir = str(tmp_path / 'ours')

    LungRunner.from_cfg(config)

    config.work_dir = str(tmp_path / 'stock')
    with pytest.raises(ImportError, match='distutils'):
        Runner.from_cfg(config)


def test_log_holds_no_line_that_says_nothing(
    tiny_config: Path, tmp_path: Path
) -> None:
    train(
        tiny_config,
        work_dir=tmp_path / 'work',
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 1},
    )
    (log,) = (tmp_path / 'work').rglob('*.log')

    text = log.read_text()

    assert 'Epoch(train)' in text
    for noise in (
        'Failed to search registry',
        'paramwise_options',
        'FileClient',
        'HardDiskBackend',
    ):
        assert noise not in text


def test_two_runners_of_one_second_do_not_share_their_hub(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, 'strftime', lambda *_: '20260101_000000')
    runners = []
    for name in ('a', 'b'):
        config = load_config(tiny_config)
        config.work_dir = str(tmp_path / name)
        runners.append(LungRunner.from_cfg(config))

    assert runners[0].message_hub is not runners[1].message_hub
    assert runners[0].logger is not runners[1].logger


def test_hooks_of_a_config_add_to_the_built_in_ones(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        tiny_config, {'custom_hooks': [{'type': 'SyncBuffersHook'}]}
    )
    config.work_dir = str(tmp_path / 'work')

    names = [type(hook).__name__ for hook in LungRunner.from_cfg(config).hooks]

    assert 'SyncBuffersHook' in names
    for name in (
        'IterSeedHook',
        'HeadScheduleHook',
        'StopOnNaNHook',
        'RunManifestHook',
    ):
        assert names.count(name) == 1


def test_heads_start_and_losses_are_watched_without_any_custom_hook(
    tiny_config: Path, tmp_path: Path
) -> None:
    options = {
        'custom_hooks': [],
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 9,
        'default_hooks.checkpoint.save_best': None,
    }

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    (log,) = (tmp_path / 'w').rglob('scalars.json')
    assert 'loss_rcnn_cls' in log.read_text().splitlines()[-1]
    options['optim_wrapper.optimizer.lr'] = 1e30
    options['optim_wrapper.clip_grad'] = None
    with pytest.raises(DivergenceError):
        train(tiny_config, work_dir=tmp_path / 'x', cfg_options=options)


def test_validation_reports_the_trainings_losses(
    tiny_config: Path, tmp_path: Path
) -> None:
    runner = train(
        tiny_config,
        work_dir=tmp_path / 'work',
        cfg_options={'train_cfg.max_epochs': 3, 'train_cfg.val_interval': 3},
    )

    scalars = runner.message_hub.log_scalars
    losses = {
        name.removeprefix('val/'): scalars[name].current()
        for name in scalars
        if name.startswith('val/loss')
    }
    total = losses.pop('loss')
    assert set(losses) == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        'loss_rcnn_cls',
        'loss_rcnn_bbox',
        'loss_mask',
    }
    assert total == pytest.approx(sum(losses.values()))
    assert losses['loss_rpn_cls'] > 0


def test_windows_are_compared_with_the_crops_that_the_weights_know(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """Trained at 32^3; windows and crops of the test's config are 48^3."""
    gate = {'type': 'SE3D', 'identity_start': True}
    options = {
        '+model.backbone.plugins': [{'cfg': gate, 'position': 'after_add'}],
        'model.test_cfg.window': (48, 48, 48),
        'train_dataloader.dataset.pipeline.0.size': (48, 48, 48),
    }

    with pytest.warns(UserWarning, match=r'crops were \(32, 32, 32\); SE3D'):
        run_test(
            tiny_config, trained, out=tmp_path / 'out', cfg_options=options
        )


@pytest.mark.parametrize('start', [1, 2])
def test_a_test_uses_the_heads_that_the_weights_trained(
    tiny_config: Path, tmp_path: Path, start: int
) -> None:
    """Options of the training need not be repeated."""
    options = {
        **NO_VALIDATION,
        'model.train_cfg.rcnn.start_epoch': start,
        'model.train_cfg.mask.start_epoch': start,
        'train_cfg.max_epochs': 1,
    }
    train(tiny_config, work_dir=tmp_path / 'work', cfg_options=options)

    for given in (1, 2):
        out = tmp_path / f'test{given}'
        run_test(
            tiny_config,
            tmp_path / 'work',
            out=out,
            cfg_options={
                'model.train_cfg.rcnn.start_epoch': given,
                'model.train_cfg.mask.start_epoch': given,
                'model.test_cfg.rpn.score_thr': 0.0,
            },
        )
        table = (out / 'table.txt').read_text()
        assert '| rpn ' in table
        assert ('| rcnn ' in table) == (start == 1)
