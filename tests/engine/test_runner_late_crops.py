"""Trainings whose crops grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis import load_config, train
from tests.engine.runs import STAYING_WORKERS
from tests.killed_training import assert_same_end, run_train

LATE = """
train_pipeline = [
    dict(type='PlaceCrop', size=(32, 32, 32), margin=4,
         late_size=(48, 48, 48), late_epoch=3),
    dict(type='RandomFlip3D'),
    dict(type='LoadCrop'),
    dict(type='PackDetInputs'),
]
val_dataloader = None
val_cfg = None
val_evaluator = None
default_hooks = dict(
    checkpoint=dict(_delete_=True, type='LungCheckpointHook', interval=1))
"""


@pytest.fixture
def late_config(tiny_config: Path, tmp_path: Path) -> Path:
    path = tmp_path / 'late.py'
    path.write_text(f"_base_ = ['{tiny_config}']\n{LATE}")
    return path


def test_model_learns_the_last_size(late_config: Path) -> None:
    """With which windows are compared where plugins pool over space."""
    train_cfg = load_config(late_config).model.train_cfg

    assert tuple(train_cfg.crop_size) == (48, 48, 48)


@pytest.mark.slow
def test_workers_that_stay_and_a_resumed_training_change_the_size(
    late_config: Path, tmp_path: Path
) -> None:
    run_train(late_config, tmp_path / 'whole')
    for kill in (7, 10):  # four steps an epoch: before and after the change
        run_train(late_config, tmp_path / 'cut', kill_at=kill)
    run_train(late_config, tmp_path / 'cut')
    train(
        late_config,
        work_dir=tmp_path / 'workers',
        cfg_options=STAYING_WORKERS,
    )

    assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
    assert_same_end(tmp_path / 'whole', tmp_path / 'workers')
