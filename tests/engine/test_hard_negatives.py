"""Mining on training scans, and trainings that use what was mined."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from lungdet.apis import train
from lungdet.data_sample import DetDataSample
from lungdet.engine import HardNegativeHook
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.hard_negatives import (
    mining_epochs,
    negatives_among,
    refuse_held_out,
)
from lungdet.errors import CheckpointError, ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.io.digests import sha256_of
from lungdet.io.hard_negatives import (
    HardNegative,
    HardNegativeBank,
    bank_file,
)
from tests.datasets.stores import (
    BALLS,
    BALLS_GRID,
    LONE_FINDING,
    balls_store,
    training_crops,
    world_point,
)
from tests.engine.runs import (
    NO_VALIDATION,
    STAYING_WORKERS,
    write_two_folders_config,
)
from tests.killed_training import assert_same_end, run_train

MINED = """
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.02,
         gamma=40, update_buffers=True),
    dict(type='HardNegativeHook', at=(0.3, 0.5), per_scan=5),
]
model = dict(test_cfg=dict(rpn=dict(score_thr=0.0, max_num=20)))
"""


@pytest.fixture
def mining_config(tiny_config: Path, tmp_path: Path) -> Path:
    return write_two_folders_config(
        tiny_config,
        tmp_path,
        'crops=dict(nodule=3, mined=3)',
        'crops=dict(nodule=1, lung=1)',
        MINED,
    )


@pytest.fixture(scope='module')
def balls(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return CaseStore(balls_store(tmp_path_factory.mktemp('balls')))


def literal_negatives(
    boxes: np.ndarray, scores: np.ndarray, lungs: np.ndarray, margin: float
) -> list[tuple]:
    """In voxels, one mark and one lung voxel at a time."""
    kept = []
    voxels = np.argwhere(lungs)
    spheres = [*BALLS, (LONE_FINDING, 5)]
    for box, score in zip(boxes, scores):
        center = (box[:3] + box[3:]) / 2 - 0.5
        away = [math.dist(center, c) >= r for c, r in spheres]
        near = min(math.dist(center, v) for v in voxels) <= margin
        if all(away) and near:
            side = math.prod(box[3:] - box[:3]) ** (1 / 3)
            kept.append((-score, *center, side))
    return sorted(kept)


def test_negatives_are_near_the_lungs_and_at_no_finding(
    balls: CaseStore, rng: np.random.Generator
) -> None:
    low = rng.uniform(0, np.array(BALLS_GRID.shape) - 8, (400, 3))
    for k, (center, _) in enumerate([*BALLS, (LONE_FINDING, 0)]):
        low[8 * k : 8 * k + 8] = center + rng.normal(0, 3, (8, 3)) - 2
    low[200:] = rng.uniform((36, 16, 56), (52, 32, 82), (200, 3))
    boxes = np.concatenate([low, low + rng.uniform(2, 7, (400, 3))], 1)
    scores = rng.permutation(400) / 400
    lungs = balls.read('1.1', 'lungs')

    marks = negatives_among(
        balls.records['1.1'], boxes, scores, lungs=lungs, lung_margin_mm=8.0
    )

    wanted = literal_negatives(boxes, scores, lungs, 8.0)
    assert 100 < len(wanted) < 390
    assert [-m.score for m in marks] == [row[0] for row in wanted]
    index = BALLS_GRID.to_index(np.array([m.center_mm for m in marks]))
    assert index == pytest.approx(np.array(wanted)[:, 1:4], abs=1e-6)
    assert [m.diameter_mm for m in marks] == pytest.approx(
        [row[4] for row in wanted]
    )
    anywhere = negatives_among(
        balls.records['1.1'], boxes, scores, lungs=None, lung_margin_mm=0.0
    )
    assert len(anywhere) > len(marks)


class MarksBright:
    """Detects the voxels that are at least as bright as a limit."""

    def predict_case(
        self, case: torch.Tensor, sample: DetDataSample
    ) -> InstanceData:
        self.lungs = sample.get('lungs'), sample.get('lung_margin')
        centers = torch.nonzero(case[0] == case.max()).float() + 0.5
        return InstanceData(
            bboxes=torch.cat([centers - 2, centers + 2], 1),
            scores=torch.linspace(0.9, 0.1, len(centers)),
        )


def test_the_highest_scores_of_a_scan_are_kept(balls: CaseStore) -> None:
    hook = HardNegativeHook(per_scan=1, lung_margin_mm=None)

    (mark,) = hook.false_positives(MarksBright(), balls, '1.2')

    image = balls.read('1.2', 'image')
    (index,) = BALLS_GRID.to_index(np.array([mark.center_mm]))
    assert image[tuple(np.rint(index).astype(int))] == image.max()
    assert mark.score == pytest.approx(0.9)
    model = MarksBright()
    HardNegativeHook(lung_margin_mm=8.0).false_positives(model, balls, '1.2')
    lungs, margin = model.lungs
    assert (lungs.numpy() == (balls.read('1.2', 'lungs') > 0)).all()
    assert margin == 8.0
    assert mark.diameter_mm == pytest.approx(4.0)


def test_mining_never_comes_first_or_last() -> None:
    assert mining_epochs((0.4, 0.7), 100) == {40, 70}
    assert mining_epochs((0.1, 0.7), 3) == {1, 2}
    assert mining_epochs((0.9,), 2) == set()
    for wrong in ((), (0.4, 1.0), (0.0,)):
        with pytest.raises(ConfigError, match=r'HardNegativeHook\.at'):
            HardNegativeHook(at=wrong)


def bank_on(folder: Path, uid: str, epoch: int = 2) -> HardNegative:
    mark = HardNegative(world_point(BALLS_GRID, (35, 42, 50)), 6.0, 0.5)
    HardNegativeBank(epoch, {uid: (mark,)}).write(folder)
    return mark


def test_mined_crops_hold_their_mark(balls: CaseStore, tmp_path: Path) -> None:
    """1.2 has no nodule; before the bank the crops are of lungs."""
    data = training_crops(
        balls.root, size=(32, 32, 32), margin=8, crops={'mined': 20}
    )
    data.follow_bank(tmp_path)
    bank_on(tmp_path, '1.2')

    assert data.kinds == ['mined'] * 20
    for index in range(20):
        assert data.start_sample(index, 1, index)['kind'] == 'lung'
    starts = set()
    for index in range(20):
        sample = data.start_sample(index, 2, index)
        assert sample['kind'] == 'mined'
        assert sample['record'].series_uid == '1.2'
        assert sample['nodule'] is None
        params = data.pipeline.transforms[0].draw(sample['rng'], sample)
        start = np.array(params.start)
        # (35, 42, 50) +- 3 with 8 voxels to every face
        assert (start <= np.array((35, 42, 50)) - 2.5 - 8).all()
        assert (start + 32 >= np.array((35, 42, 50)) + 3.5 + 8).all()
        starts.add(params.start)
    assert len(starts) > 10


@pytest.mark.parametrize(('part', 'uid'), [('test', '1.9'), ('val', '1.2')])
def test_marks_on_scans_that_are_held_out_are_refused(
    balls: CaseStore, tmp_path: Path, part: str, uid: str
) -> None:
    data = training_crops(
        balls.root, crops={'mined': 2}, val_subsets=(1,), test_subsets=(9,)
    )
    data.follow_bank(tmp_path)
    bank_on(tmp_path, uid)

    with pytest.raises(ConfigError, match=f'{uid}, a scan of the {part}'):
        data.start_sample(0, 2, 0)
    assert [uid for _, uid in data.scans_to_mine] == ['1.1']
    with pytest.raises(ConfigError, match='1 scans of the test, such as 1.9'):
        refuse_held_out(['1.1', '1.9'], ['1.9', '1.8'])


def test_mined_crops_without_a_hook_are_refused(balls: CaseStore) -> None:
    data = training_crops(balls.root, crops={'mined': 2})

    with pytest.raises(ConfigError, match='nothing is mined; add .*Hook'):
        data.start_sample(0, 0, 0)


def test_hook_without_mined_crops_is_refused(
    mining_config: Path, tmp_path: Path
) -> None:
    key = 'train_dataloader.dataset.datasets.0.crops.mined'

    with pytest.raises(ConfigError, match='have no mined crops'):
        train(
            mining_config,
            work_dir=tmp_path / 'work',
            cfg_options={**NO_VALIDATION, key: 0},
        )


def test_training_mines_its_training_scans_and_resumes_with_the_bank(
    mining_config: Path, tmp_path: Path
) -> None:
    work = tmp_path / 'work'
    work.mkdir()
    HardNegativeBank(0, {'1.4': ()}).write(work)  # left by another run
    options = {**NO_VALIDATION, 'train_cfg.max_epochs': 3}

    train(mining_config, work_dir=work, cfg_options=options)

    assert not bank_file(work, 0).exists()
    banks = [HardNegativeBank.read(bank_file(work, e)) for e in (1, 2)]
    for bank in banks:
        assert list(bank.marks) == ['1.0', '1.1', '1.2']  # 7.1 has no mined
        assert 0 < max(len(marks) for marks in bank.marks.values()) <= 5
    assert banks[0].marks != banks[1].marks
    stored = read_checkpoint(work / 'epoch_3.pth')['hard_negatives']
    assert stored == {
        'file': 'hard_negatives_2.json',
        'digest': sha256_of(bank_file(work, 2)),
    }
    longer = {**options, 'train_cfg.max_epochs': 4}
    bank_file(work, 2).write_text(bank_file(work, 1).read_text())
    with pytest.raises(CheckpointError, match='another hard_negatives_2'):
        train(mining_config, work_dir=work, resume='auto', cfg_options=longer)
    bank_file(work, 2).unlink()
    with pytest.raises(CheckpointError, match='another hard_negatives_1'):
        train(mining_config, work_dir=work, resume='auto', cfg_options=longer)


def test_averaged_weights_mine_with_the_heads_of_their_epoch(
    mining_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = []
    false_positives = HardNegativeHook.false_positives

    def recorded(self: object, model: object, *scan: object) -> object:
        models.append((model, model.training, model.bbox_started))
        return false_positives(self, model, *scan)

    monkeypatch.setattr(HardNegativeHook, 'false_positives', recorded)
    runner = train(
        mining_config,
        work_dir=tmp_path / 'work',
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 3},
    )

    assert len(models) == 6
    assert [started for *_, started in models] == [*[False] * 3, *[True] * 3]
    assert not any(training for _, training, _ in models)
    assert all(model is not runner.model for model, *_ in models)


@pytest.mark.slow
def test_killed_and_resumed_mining_ends_the_same(
    mining_config: Path, tmp_path: Path
) -> None:
    """Kills before the first bank, between both and after them."""
    run_train(mining_config, tmp_path / 'whole')
    for kill in (3, 6, 14):
        run_train(mining_config, tmp_path / 'cut', kill_at=kill)
    run_train(mining_config, tmp_path / 'cut')

    assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
    for epoch in (1, 2):
        one, other = (
            bank_file(tmp_path / name, epoch) for name in ('whole', 'cut')
        )
        assert sha256_of(one) == sha256_of(other)


@pytest.mark.slow
def test_persistent_workers_follow_the_banks(
    mining_config: Path, tmp_path: Path
) -> None:
    """They were started before the first bank was mined."""
    options = {**NO_VALIDATION, 'train_cfg.max_epochs': 4}
    train(mining_config, work_dir=tmp_path / 'none', cfg_options=options)
    train(
        mining_config,
        work_dir=tmp_path / 'two',
        cfg_options={**options, **STAYING_WORKERS},
    )

    assert_same_end(tmp_path / 'none', tmp_path / 'two')
    early, late = (bank_file(tmp_path / 'two', epoch) for epoch in (1, 2))
    assert sha256_of(early) != sha256_of(late)


def test_data_that_cannot_mine_are_refused(tmp_path: Path) -> None:
    loader = SimpleNamespace(dataset=[])
    runner = SimpleNamespace(
        rank=0, iter=0, epoch=0, work_dir=tmp_path, train_dataloader=loader
    )

    with pytest.raises(ConfigError, match='list has no mined crops'):
        HardNegativeHook().before_train(runner)
