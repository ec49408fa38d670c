"""NMS against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.ops import box_iou, nms
from tests.oracles.reference import edges, vectors

NMS_THRESHOLDS = [key for key in vectors()['nms']['keep'] if key[0].isdigit()]


@pytest.mark.parametrize('thr', NMS_THRESHOLDS)
def test_nms(thr: str) -> None:
    """Drop above the threshold (float64 code); equal scores in order."""
    stored = vectors()['nms']
    dets = np.array(stored['dets'])

    keep = nms(edges(dets[:, 1:]), torch.from_numpy(dets[:, 0]), float(thr))

    kept = stored['keep'][thr]['python_float64']
    assert keep.tolist() == sorted(kept, key=lambda k: (-dets[k, 0], k))


@pytest.mark.parametrize(
    ('key', 'rule'),
    [
        ('tie_1/3', 'python_float64'),
        ('exact_half', 'python_float64'),
        ('equal_scores', 'cpp_float32'),  # the one with a stable order
    ],
)
def test_nms_of_ties(key: str, rule: str) -> None:
    stored = vectors()['nms']['keep'][key]
    dets = np.array(stored['dets'])
    boxes = edges(dets[:, 1:])
    thr = stored.get('thr', 1 / 3)

    keep = nms(boxes, torch.from_numpy(dets[:, 0]), thr)

    assert keep.tolist() == stored[rule]
    if 'iou01' in stored:
        iou = float(box_iou(boxes[:1], boxes[1:2]))
        assert iou == pytest.approx(stored['iou01'], rel=1e-12)
