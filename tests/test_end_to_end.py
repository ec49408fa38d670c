"""Real scans: full-size configs train and test, one is killed and resumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lungdet.apis import load_config, submission_files, train
from lungdet.apis import test as run_test
from lungdet.engine import FROCMetric
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.evaluation import EvaluationOptions, evaluate_submission
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import read_marks
from lungdet.prepare import prepare_luna16
from tests.engine.runs import NO_VALIDATION
from tests.killed_training import assert_same_end, run_train

CONFIGS = Path(__file__).parents[1] / 'configs'


@pytest.fixture(scope='module')
def mini(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three real scans, prepared once."""
    scans = test_data / 'luna16-mini'
    cases = tmp_path_factory.mktemp('mini') / 'cases'
    prepare_luna16(scans, cases, lidc_xml=scans / 'xml', progress=False)
    return cases


def pretrain(mini: Path, work_dir: Path) -> Path:
    """Four steps of the real pre-training; the weights it exports."""
    options = {
        'data_root': str(mini),
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.crops_per_scan': 12,
        'train_dataloader.dataset.val_subsets': [],
        'train_cfg.max_epochs': 1,
        **NO_VALIDATION,
    }
    runner = train(
        CONFIGS / 'genesis_qam.py',
        work_dir=work_dir,
        amp=True,
        cfg_options=options,
    )
    assert runner.iter == 4  # twelve crops of two scans, batches of six
    return work_dir / 'backbone.safetensors'


@pytest.mark.slow
@pytest.mark.parametrize('name', ['nodulenet_base', 'nodulenet_qam_mg'])
def test_full_size_on_a_real_scan(
    mini: Path, tmp_path: Path, name: str
) -> None:
    options = {
        'data_root': str(mini),
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'test_dataloader.num_workers': 0,
        'train_cfg.max_epochs': 1,
        'model.train_cfg.rcnn.start_epoch': 1,
        'model.train_cfg.mask.start_epoch': 1,
        **NO_VALIDATION,
        '+default_hooks.checkpoint.iter_interval': 2,
    }
    if name.endswith('mg'):
        weights = pretrain(mini, tmp_path / 'pretrain')
        options['pretrained.weights'] = str(weights)
    config = load_config(CONFIGS / f'{name}.py', options)
    assert config.train_dataloader.dataset.pipeline[0].size == (128,) * 3
    file = tmp_path / f'{name}.py'
    config.dump(file)

    speed = {'threads': torch.get_num_threads(), 'amp': True}
    run_train(file, tmp_path / 'whole', **speed)
    # six nodules of two scans, two a step
    assert read_checkpoint(tmp_path / 'whole')['meta']['iter'] == 3
    if name.endswith('mg'):  # minutes; once is enough
        run_train(file, tmp_path / 'cut', kill_at=2, **speed)
        assert read_checkpoint(tmp_path / 'cut')['meta']['iter'] == 2
        run_train(file, tmp_path / 'cut', **speed)
        assert_same_end(tmp_path / 'whole', tmp_path / 'cut')

    metrics = run_test(config, tmp_path / 'whole', out=tmp_path / 'out')

    froc = json.loads((tmp_path / 'out' / 'froc.json').read_text())
    assert froc['counts']['scans'] == 1 and froc['counts']['nodules'] == 3
    assert metrics['froc/cpm'] == froc['cpm']
    marks = read_marks(tmp_path / 'out' / 'submission.csv')
    assert (
        sum(len(s) for _, s in marks.values())
        == (froc['counts']['candidates'])
    )


@pytest.mark.slow
def test_reference_boxes_of_real_scans_score_one(
    mini: Path, tmp_path: Path
) -> None:
    """Prepared boxes as detections, through submission.csv, against LUNA16's
    own tables: nothing is lost or moved on the way."""
    store = CaseStore(mini)
    metric = FROCMetric(tmp_path / 'out', bootstrap=0)
    metric.dataset_meta = {
        'data_root': str(mini),
        'series_uids': list(store.records),
    }
    for uid, record in store.records.items():
        boxes = np.array([n.box for n in record.nodules])
        predictions = {'bboxes': boxes, 'scores': np.full(len(boxes), 0.9)}
        sample = {
            'series_uid': uid,
            'affine': record.geometry.affine,
            'pred_instances': predictions,
        }
        metric.process(None, [sample])
    metric.evaluate(len(store.records))

    listed = tmp_path / 'seriesuids.csv'
    listed.write_text(''.join(f'{uid}\n' for uid in store.records))
    reference = submission_files.load_reference(None, None, listed)
    submission = submission_files.load_submission(
        tmp_path / 'out' / 'submission.csv', reference
    )
    result = evaluate_submission(
        submission, reference, EvaluationOptions(bootstrap=0)
    ).result

    assert result.cpm == 1.0 and result.sensitivities == [1.0] * 7
    counts = result.to_dict()['counts']
    assert counts['scans'] == 3
    assert counts['nodules'] == counts['tp'] == 9
    assert counts['fp'] == counts['fn'] == 0
