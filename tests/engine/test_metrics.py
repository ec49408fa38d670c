"""mmengine's side of scoring whole scans."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lungdet.engine import FROCMetric
from lungdet.errors import ConfigError
from lungdet.evaluation import CaseOptions
from lungdet.io.case_store import CaseStore
from lungdet.structures import Dropped


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


def test_a_config_sets_every_option_of_the_scoring() -> None:
    keys = {
        'bootstrap': 5,
        'seed': 7,
        'read_out': 'step',
        'max_marks': 9,
        'strata': 'diameter',
    }

    metric = FROCMetric(candidates='list.csv', **keys)

    assert asdict(metric.options) == {**keys, 'candidates': True}
    assert FROCMetric().options == CaseOptions()


def test_missing_scan_is_an_error(tiny_store: Path) -> None:
    metric = FROCMetric(bootstrap=0)
    metric.dataset_meta = {
        'data_root': str(tiny_store),
        'series_uids': ['1.0', '1.1'],
    }

    with pytest.raises(ConfigError, match='0 scans were tested, 2 are listed'):
        metric.evaluate(2)


def test_a_lung_filter_of_the_network_is_told(
    tiny_store: Path, tmp_path: Path
) -> None:
    uid, record = next(iter(CaseStore(tiny_store).records.items()))
    metric = FROCMetric(tmp_path / 'out', bootstrap=0)
    metric.dataset_meta = {'data_root': str(tiny_store), 'series_uids': [uid]}
    predictions = {
        'bboxes': np.array([[2.0, 2, 2, 6, 6, 6]]),
        'scores': np.array([0.9]),
        'lung_margin': 8.0 / record.spacing_mm,
        'outside_lungs': 3,
    }

    metric.process(
        None,
        [
            {
                'series_uid': uid,
                'affine': record.geometry.affine,
                'pred_instances': predictions,
            }
        ],
    )

    (scan,) = metric.results
    assert scan.result.dropped == (Dropped('lungs', 8.0, 3),)
    assert any('8 mm outside the lungs' in c for c in scan.result.caveats)
