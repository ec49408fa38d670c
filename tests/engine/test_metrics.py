"""mmengine's side of scoring whole scans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lungdet.engine import FROCMetric
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore


def test_reference_boxes_come_back_as_perfect_score(
    tiny_store: Path, tmp_path: Path
) -> None:
    """Boxes of the reference become detections of exactly these nodules."""
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


@pytest.mark.parametrize(('lung_filter', 'kept'), [(None, 2), (8.0, 1)])
def test_marks_outside_the_lungs_are_scored_unless_filtered(
    tiny_store: Path, tmp_path: Path, lung_filter: float | None, kept: int
) -> None:
    store = CaseStore(tiny_store)
    uid, record = next(iter(store.records.items()))
    lungs = store.read(uid, 'lungs') > 0
    inside = np.argwhere(lungs)[lungs.sum() // 2]
    outside = np.array(lungs.shape) + 20
    metric = FROCMetric(tmp_path / 'out', bootstrap=0, lung_filter=lung_filter)
    metric.dataset_meta = {'data_root': str(tiny_store), 'series_uids': [uid]}
    boxes = np.array([[*(c - 2.0), *(c + 2.0)] for c in (inside, outside)])

    metric.process(
        None,
        [
            {
                'series_uid': uid,
                'affine': record.geometry.affine,
                'pred_instances': {
                    'bboxes': boxes,
                    'scores': np.array([0.9, 0.1]),
                },
            }
        ],
    )

    (scan,) = metric.results
    assert len(scan.result.detections) == kept
    assert any('lung_filter' in c for c in scan.result.caveats) == (kept == 1)


def test_candidate_lists_are_scored_whole() -> None:
    with pytest.raises(ConfigError, match='a candidate list is scored whole'):
        FROCMetric(candidates='list.csv', lung_filter=8.0)
