"""Trainings whose crops grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis import check_training, load_config, train
from lungdet.errors import ConfigError
from tests.engine.runs import STAYING_WORKERS, write_two_folders_config
from tests.killed_training import assert_same_end, run_train

LATE = """
train_pipeline = [
    dict(type='PlaceCrop', size=(32, 32, 32), margin=4,
         late_size=(48, 48, 48), late_epoch=3),
    dict(type='RandomFlip3D'),
    dict(type='LoadCrop'),
    dict(type='NoduleInsertion', source='parametric', kinds=('inserted',),
         prob=1.0),
    dict(type='PackDetInputs'),
]
train_dataloader['batch_sampler'] = dict(
    type='LateBatchSampler', late_batch_size=1)
custom_hooks = [dict(type='HardNegativeHook', at=(0.25, 0.75), per_scan=5)]
model = dict(test_cfg=dict(rpn=dict(score_thr=0.0, max_num=20)))
val_dataloader = None
val_cfg = None
val_evaluator = None
default_hooks = dict(
    checkpoint=dict(_delete_=True, type='LungCheckpointHook', interval=1))
"""
PIPELINE = '+train_dataloader.dataset.datasets.1.pipeline'


@pytest.fixture
def late_config(tiny_config: Path, tmp_path: Path) -> Path:
    return write_two_folders_config(
        tiny_config,
        tmp_path,
        'crops=dict(nodule=2, mined=2, inserted=2)',
        'crops=dict(nodule=1, lung=1)',
        LATE,
    )


def test_model_learns_the_last_size(late_config: Path) -> None:
    """With which windows are compared where plugins pool over space."""
    train_cfg = load_config(late_config).model.train_cfg

    assert tuple(train_cfg.crop_size) == (48, 48, 48)


def test_data_sets_with_crops_of_other_sizes_are_refused(
    late_config: Path,
) -> None:
    """Else an epoch, or the first late one, would end with an error."""
    config = load_config(late_config)
    data = config.train_dataloader.dataset
    for key, value in (('size', [64, 64, 64]), ('late_epoch', 4)):
        changed = [dict(step) for step in data.pipeline]
        changed[0][key] = value
        with pytest.raises(ConfigError, match=rf'PlaceCrop\.{key} is .* and'):
            check_training(load_config(config, {PIPELINE: changed}))


@pytest.mark.slow
def test_workers_that_stay_and_a_resumed_training_change_the_size(
    late_config: Path, tmp_path: Path
) -> None:
    run_train(late_config, tmp_path / 'whole')
    for kill in (6, 10):  # four steps an epoch: before and after the change
        run_train(late_config, tmp_path / 'cut', kill_at=kill)
    run_train(late_config, tmp_path / 'cut')
    train(
        late_config,
        work_dir=tmp_path / 'workers',
        cfg_options=STAYING_WORKERS,
    )

    end = assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
    assert end['meta']['iter'] == 16 and 'hard_negatives' in end
    assert_same_end(tmp_path / 'whole', tmp_path / 'workers')
