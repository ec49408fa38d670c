from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.engine import ExactSampler, FROCMetric, Key
from lungdet.engine.checkpoint import resolve_checkpoint
from lungdet.engine.resume import check_epochs
from lungdet.errors import CheckpointError, ConfigError, DivergenceError
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import read_marks
from tests.killed_training import assert_same_end, run_train

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_killed_and_resumed_ends_bit_for_bit_the_same(
    tiny_config: Path, tmp_path: Path, processes: int
) -> None:
    run_train(tiny_config, tmp_path / 'whole', processes=processes)
    kills = (5, 12) if processes == 1 else (5,)
    for kill in kills:
        run_train(
            tiny_config, tmp_path / 'cut', kill_at=kill, processes=processes
        )
    run_train(tiny_config, tmp_path / 'cut', processes=processes)

    end = assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
    assert end['meta']['epoch'] == 4


@pytest.mark.slow
def test_persistent_workers_end_with_the_training(
    tiny_config: Path, tmp_path: Path
) -> None:
    """What they cost counts only when they have ended."""
    options = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.num_workers': 1,
        '+train_dataloader.persistent_workers': True,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'default_hooks.checkpoint.save_best': None,
    }

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    assert multiprocessing.active_children() == []


def test_sampler_deals_every_sample_once_and_continues() -> None:
    data = list(range(7))
    sampler = ExactSampler(data, seed=4)
    sampler.set_epoch(2)
    order = list(sampler)

    assert sorted(order) == data
    assert [k.pos for k in order] == data and order[0].epoch == 2
    sampler.start = 3
    assert list(sampler) == order[3:]
    assert list(sampler) == order  # start counts once
    sampler.set_epoch(3)
    assert list(sampler) != order
    parts = []
    for rank in range(2):
        sampler.rank, sampler.world_size = rank, 2
        parts.append(list(sampler))
    assert sorted(set(parts[0]) | set(parts[1])) == data
    assert len(parts[0]) == len(parts[1]) == len(sampler) == 4


def test_key_survives_pickling() -> None:
    import pickle

    key = pickle.loads(pickle.dumps(Key(5, 2, 9)))

    assert (int(key), key.epoch, key.pos) == (5, 2, 9)


def test_checkpoint_is_plain_and_carries_what_inference_needs(
    trained: Path,
) -> None:
    checkpoint = torch.load(resolve_checkpoint(trained), weights_only=True)

    assert checkpoint['meta']['model']['type'] == 'NoduleNet'
    assert checkpoint['meta']['input_contract']['spacing_mm'] == 1.0
    assert checkpoint['meta']['epoch'] == 1
    assert not list(trained.glob('.tmp-*'))
    # a moved work dir still resolves
    moved = trained.rename(trained.with_name('moved'))
    assert resolve_checkpoint(moved / 'last_checkpoint').parent == moved


def test_resume_with_epochs_of_another_length_is_refused(
    trained: Path, tiny_config: Path
) -> None:
    """Nine samples: four whole batches of two, or nine of one."""
    saved = sorted(trained.glob('*.pth'))

    with pytest.raises(
        CheckpointError, match='have 4 batches.* this run has 9 batches'
    ):
        train(
            tiny_config,
            work_dir=trained,
            resume='auto',
            cfg_options={'train_dataloader.batch_size': 1},
        )

    assert sorted(trained.glob('*.pth')) == saved


def test_resume_with_other_scans_is_refused() -> None:
    """Their samples would take the places of those not yet seen."""
    meta = {'epoch': 0, 'iter': 1, 'epoch_length': 4, 'train_series': ['1.0']}

    check_epochs(meta, 4, ['1.0'], 'a.pth')
    with pytest.raises(CheckpointError, match='without 1 scans.* as 2.0'):
        check_epochs(meta, 4, ['1.0', '2.0'], 'a.pth')


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


def test_whole_test_writes_everything_and_continues(
    trained: Path, tiny_config: Path
) -> None:
    out = trained / 'test'

    first = run_test(tiny_config, trained, out=out)
    scans = sorted((out / 'scans').glob('*.json'))
    stamp = scans[0].stat().st_mtime_ns
    scans[1].unlink()
    second = run_test(tiny_config, trained, out=out)

    assert first == second
    assert scans[0].stat().st_mtime_ns == stamp
    assert scans[1].is_file()
    froc = json.loads((out / 'froc.json').read_text())
    assert {'rates', 'sensitivities', 'cpm', 'counts'} <= set(froc)
    assert set(froc['counts']) == {
        'scans',
        'nodules',
        'tp',
        'fp',
        'fn',
        'candidates',
        'ignored_excluded',
        'ignored_double',
    }
    assert froc['counts']['scans'] == 2 and froc['counts']['nodules'] == 4
    for name in ('submission.csv', 'detections.json', 'froc.png'):
        assert (out / name).stat().st_size > 0
    assert '2 scans of 2 listed' in (out / 'table.txt').read_text()


def test_reference_boxes_come_back_as_perfect_score(
    tiny_store: Path, tmp_path: Path
) -> None:
    """The way back is right: boxes in, CPM 1.000 and no false positive."""
    store = CaseStore(tiny_store)
    metric = FROCMetric(tmp_path / 'out', bootstrap=0)
    metric.dataset_meta = {
        'data_root': str(tiny_store),
        'series_uids': list(store.records),
    }
    for uid, record in store.records.items():
        boxes = np.array([n.box for n in record.nodules])
        mask = store.read(uid, 'mask')
        metric.process(
            None,
            [
                {
                    'series_uid': uid,
                    'affine': record.geometry.affine,
                    'pred_instances': {
                        'bboxes': boxes,
                        'scores': np.full(len(boxes), 0.9),
                        'mask_boxes': boxes.astype(int),
                        'masks': [
                            mask[
                                tuple(
                                    slice(int(a), int(b))
                                    for a, b in zip(box[:3], box[3:])
                                )
                            ]
                            == n.id
                            for box, n in zip(boxes, record.nodules)
                        ],
                    },
                }
            ],
        )

    metrics = metric.evaluate(len(store.records))

    assert metrics['froc/cpm'] == 1.0
    assert metrics['mask/dice_all'] == 1.0
    froc = json.loads((tmp_path / 'out' / 'froc.json').read_text())
    assert froc['counts']['fp'] == 0


def test_missing_scan_is_an_error(tiny_store: Path) -> None:
    metric = FROCMetric(bootstrap=0)
    metric.dataset_meta = {
        'data_root': str(tiny_store),
        'series_uids': ['1.0', '1.1'],
    }

    with pytest.raises(ConfigError, match='0 scans were tested, 2 are listed'):
        metric.evaluate(2)


def test_validation_reports_the_trainings_losses(
    tiny_config: Path, tmp_path: Path
) -> None:
    runner = train(
        tiny_config,
        work_dir=tmp_path / 'work',
        cfg_options={'train_cfg.max_epochs': 3, 'train_cfg.val_interval': 3},
    )

    scalars = runner.message_hub.log_scalars
    found = {
        name.removeprefix('val/val/'): scalars[name].current()
        for name in scalars
        if name.startswith('val/val/')
    }
    total = found.pop('loss')
    assert set(found) == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        'loss_rcnn_cls',
        'loss_rcnn_bbox',
        'loss_mask',
    }
    assert total == pytest.approx(sum(found.values()))
    assert found['loss_rpn_cls'] > 0


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


def test_worker_options_without_workers(tiny_config: Path) -> None:
    from mmengine.registry import DefaultScope

    from lungdet.engine import LungRunner

    config = load_config(tiny_config)
    loader = {
        **config.train_dataloader,
        'num_workers': 0,
        'persistent_workers': True,
        'prefetch_factor': 2,
    }
    with DefaultScope.overwrite_default_scope('lungdet'):
        built = LungRunner.build_dataloader(loader, seed=0)

    assert built.num_workers == 0


@pytest.mark.slow
def test_two_processes_test_every_scan_once(
    trained: Path, tiny_config: Path
) -> None:
    single = run_test(tiny_config, trained, out=trained / 'one')
    subprocess.run(
        [
            'bash',
            'tools/dist_test.sh',
            str(tiny_config),
            str(trained),
            '2',
            '--out',
            str(trained / 'two'),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=300,
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'PORT': '29517',
            'PYTHONPATH': str(ROOT),
            'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        },
    )

    one, two = (
        json.loads((trained / n / 'froc.json').read_text())
        for n in ('one', 'two')
    )
    assert one == two
    assert one['cpm'] == single['froc/cpm']


def test_two_runners_of_one_second_do_not_share_their_hub(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    from lungdet.engine import LungRunner

    monkeypatch.setattr(time, 'strftime', lambda *_: '20260101_000000')
    runners = []
    for name in ('a', 'b'):
        config = load_config(tiny_config)
        config.work_dir = str(tmp_path / name)
        runners.append(LungRunner.from_cfg(config))

    assert runners[0].message_hub is not runners[1].message_hub
    assert runners[0].logger is not runners[1].logger


@pytest.mark.slow
def test_given_candidates_are_scored_by_the_second_stage(
    tiny_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    config = {
        'train_cfg.max_epochs': 1,
        'model.train_cfg.rcnn.start_epoch': 1,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'default_hooks.checkpoint.save_best': None,
    }
    train(tiny_config, work_dir=tmp_path / 'work', cfg_options=config)
    records = CaseStore(tiny_store).records
    given = {
        uid: [*(n.center_mm for n in records[uid].nodules), (20.5, 11.5, 30.5)]
        for uid in ('1.3', '1.4')
    }
    table = tmp_path / 'candidates.csv'
    table.write_text(
        'seriesuid,coordX,coordY,coordZ,class\n'
        + ''.join(
            f'{uid},{x},{y},{z},0\n'
            for uid, points in given.items()
            for x, y, z in points
        )
    )

    run_test(
        tiny_config,
        tmp_path / 'work',
        out=tmp_path / 'out',
        candidates=table,
        cfg_options={'model.train_cfg.rcnn.start_epoch': 1},
    )

    marks = read_marks(tmp_path / 'out' / 'submission.csv')
    for uid, points in given.items():
        centers, scores = marks[uid]
        assert sorted(centers.round(4).tolist()) == sorted(
            np.round(points, 4).tolist()
        )
        assert ((scores > 0) & (scores < 1)).all()
    froc = json.loads((tmp_path / 'out' / 'froc.json').read_text())
    assert froc['candidates']['candidates'] == 6
    assert froc['candidates']['reached'] == froc['counts']['nodules'] == 4
    # the folder is not mixed with results of another kind
    with pytest.raises(ConfigError, match='candidates; their marks'):
        run_test(tiny_config, tmp_path / 'work', out=tmp_path / 'out')
