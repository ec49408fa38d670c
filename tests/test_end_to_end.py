"""The real configs: BASE on a real scan, and one step of the QAM row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.io.luna16 import read_marks
from lungdet.prepare import prepare_luna16
from lungdet.registry import MODELS

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


@pytest.mark.slow
def test_full_size_qam_learns_in_every_block_and_walks_a_case() -> None:
    config = load_config(CONFIGS / 'nodulenet_qam.py')
    side = config.train_dataloader.dataset.pipeline[0].size[0]
    assert side == 128
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('lungdet'):
        model = MODELS.build(config.model).train()
    sample = DetDataSample()
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[50.0, 60, 70, 60, 70, 80]]),
        labels=torch.ones(1, dtype=torch.long),
        ids=torch.ones(1, dtype=torch.long),
        has_mask=torch.ones(1, dtype=torch.bool),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 6))
    sample.gt_masks = torch.zeros(side, side, side, dtype=torch.uint8)
    sample.gt_masks[50:60, 60:70, 70:80] = 1
    crop = torch.rand(1, 1, side, side, side) * 2 - 1

    losses = model(crop, [sample], mode='loss')
    sum(losses.values()).backward()

    assert set(losses) == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        'loss_rcnn_cls',
        'loss_rcnn_bbox',
        'loss_mask',
    }
    gates = {k: v for k, v in model.named_parameters() if '.branches.' in k}
    assert len(gates) == 16 * 4 * 3
    for key, value in gates.items():
        assert value.grad.isfinite().all() and value.grad.any(), key
    # one padded window, of the training crop's size: no warning
    model.eval()
    marks = model.predict_case(torch.zeros(1, 40, 50, 60, dtype=torch.int16))
    assert marks.scores.isfinite().all()
