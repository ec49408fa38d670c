"""The real config on a real scan: two steps, resume, test, submission."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.io.luna16 import read_marks
from lungdet.prepare import prepare_luna16

CONFIGS = Path(__file__).parents[1] / 'configs'


@pytest.mark.slow
def test_full_size_base_on_a_real_scan(
    test_data: Path, tmp_path: Path
) -> None:
    mini = test_data / 'luna16-mini'
    prepare_luna16(
        mini, tmp_path / 'cases', lidc_xml=mini / 'xml', progress=False
    )
    options = {
        'data_root': str(tmp_path / 'cases'),
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.test_subsets': [9],
        'test_dataloader.num_workers': 0,
        'train_cfg.max_epochs': 1,
        'model.train_cfg.stage_epochs': {'rcnn': 1, 'mask': 1},
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'default_hooks.checkpoint.save_best': None,
        '+default_hooks.checkpoint.iter_interval': 2,
    }
    config = load_config(CONFIGS / 'nodulenet_base.py', options)
    assert config.train_dataloader.dataset.pipeline[0].size == (128,) * 3

    runner = train(config, work_dir=tmp_path / 'work', amp=True)

    assert runner.iter == 3  # six nodules of two scans, batches of two
    logged = (tmp_path / 'work').rglob('*.log')
    text = ''.join(path.read_text() for path in logged)
    assert 'resume' not in text
    again = load_config(
        CONFIGS / 'nodulenet_base.py', {**options, 'train_cfg.max_epochs': 2}
    )
    resumed = train(again, work_dir=tmp_path / 'work', amp=True, resume='auto')
    assert resumed.iter == 6

    checked = load_config(CONFIGS / 'nodulenet_base.py', options)
    metrics = run_test(checked, tmp_path / 'work', out=tmp_path / 'out')

    froc = json.loads((tmp_path / 'out' / 'froc.json').read_text())
    assert froc['counts']['scans'] == 1 and froc['counts']['nodules'] == 3
    assert metrics['froc/cpm'] == froc['cpm']
    marks = read_marks(tmp_path / 'out' / 'submission.csv')
    assert (
        sum(len(s) for _, s in marks.values())
        == (froc['counts']['candidates'])
    )
