"""Fusions compared on one checkpoint's boxes are those of the test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.apis.compare_fusions import compare_fusions, ranked
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.io.predictions import CasePredictions
from lungdet.models import NoduleNet
from lungdet.models.task_modules import DetectionPostProcessor
from lungdet.structures import SeriesResult
from tests.engine.runs import NO_VALIDATION

POSTPROCESS = 'model.test_cfg.postprocess'
GRID = Geometry.from_parts(
    (90, 90, 90), spacing_zyx=(1.5, 1.5, 1.5), origin_xyz=(-30, 7, 200)
)


def all_boxes(border: float) -> tuple[InstanceData, SeriesResult]:
    """300 boxes with two scores, for the network and as a test keeps them."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (300, 3))
    low[150:] = low[:150] + rng.normal(0, 2, (150, 3))
    boxes = np.hstack([low, low + rng.uniform(10, 20, (300, 3))])
    scores = rng.uniform(size=(2, 300)).astype(np.float32)
    shown = boxes + np.repeat([border / 2, -border / 2], 3)
    kept = CasePredictions(shown, scores.mean(0), scores[0], scores[1])
    given = InstanceData(
        bboxes=torch.from_numpy(boxes).float(),
        rpn=torch.from_numpy(scores[0]),
        rcnn=torch.from_numpy(scores[1]),
    )
    return given, kept.to_result('1.2', GRID)


@pytest.mark.parametrize('border', [0, 8])
@pytest.mark.parametrize('fusion', ['mean', 'product', 'rpn', 'rcnn'])
def test_boxes_of_a_test_are_fused_and_selected_as_the_networks(
    fusion: str, border: float
) -> None:
    given, stored = all_boxes(border)
    processor = DetectionPostProcessor(
        score_fusion=fusion, nms={'center_radii': 1.0}, max_per_scan=60
    )
    wanted = processor.select(
        processor.fuse(
            InstanceData(bboxes=given.bboxes, scores=given.rpn),
            InstanceData(bboxes=given.bboxes, scores=given.rcnn),
        )
    )

    detections = ranked(stored, processor, border).detections

    assert len(detections) == len(wanted) == 60
    assert [d.score for d in detections] == wanted.scores.tolist()
    np.testing.assert_allclose(
        [d.center_mm for d in detections],
        GRID.box_center_world(wanted.bboxes.numpy()),
        atol=1e-4,
    )
    np.testing.assert_allclose(
        [d.size_mm for d in detections],
        (wanted.bboxes[:, 3:] - wanted.bboxes[:, :3] - border) * 1.5,
        atol=1e-4,
    )


def test_a_box_without_the_second_score_is_refused() -> None:
    _, stored = all_boxes(0)
    stored.detections[7] = replace(stored.detections[7], rcnn_score=None)

    with pytest.raises(ConfigError, match='before the RoI head started'):
        ranked(stored, DetectionPostProcessor())


def test_boxes_that_are_averaged_cannot_be_compared(
    tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match='compare with merge=None'):
        compare_fusions(
            tiny_config,
            tmp_path / 'weights.pth',
            out=tmp_path / 'fusions',
            cfg_options={
                f'+{POSTPROCESS}.merge.type': 'WeightedBoxClustering'
            },
        )


def test_views_that_are_merged_cannot_be_compared(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector that does not average them."""
    monkeypatch.delattr(NoduleNet, 'predict_owned')

    with pytest.raises(ConfigError, match='NoduleNet .* with flips=1'):
        compare_fusions(
            tiny_config,
            tmp_path / 'weights.pth',
            out=tmp_path / 'fusions',
            cfg_options={'+model.test_cfg.flips': 2},
        )


@pytest.mark.slow
def test_each_row_is_what_a_test_of_that_choice_gives(
    tiny_config: Path, tmp_path: Path
) -> None:
    work, out = tmp_path / 'work', tmp_path / 'fusions'
    started = {'model.train_cfg.rcnn.start_epoch': 1}
    shortly = {**NO_VALIDATION, **started, 'train_cfg.max_epochs': 1}
    train(tiny_config, work_dir=work, cfg_options=shortly)
    options = {
        **started,
        '+model.test_cfg.flips': 2,
        '+model.test_cfg.rpn.score_thr': 0.0,
        '+test_evaluator.bootstrap': 20,
    }

    compared = compare_fusions(tiny_config, work, out=out, cfg_options=options)

    written = json.loads((out / 'fusions.json').read_text())
    assert written['configured'] == ['rcnn', 'mean']
    assert written['num_listed'] == written['scans']
    names = {caveat['name'] for caveat in written['caveats']}
    assert 'few-scans' in names
    assert 'caveat: few-scans' in (out / 'fusions.txt').read_text()
    assert len(written['rows']) == len(compared.reports) == 8
    for source, fusion in (('rcnn', 'mean'), ('rpn', 'product')):
        folder = tmp_path / f'{source} {fusion}'
        choice = {
            f'+{POSTPROCESS}.box_source': source,
            f'+{POSTPROCESS}.score_fusion': fusion,
        }
        run_test(
            tiny_config, work, out=folder, cfg_options={**options, **choice}
        )
        tested = json.loads((folder / 'froc.json').read_text())
        report = compared.reports[source, fusion]
        assert tested['counts']['fp'] > 0
        assert report.result.counts == tested['counts']
        assert report.result.sensitivities == tested['sensitivities']
        assert report.bootstrap is not None
        assert report.bootstrap.to_dict() == tested['bootstrap']
        assert report.result.thresholds == tested['thresholds']
