"""Tested scans and their cases, small enough to check by hand."""

from __future__ import annotations

import numpy as np

from lungdet.evaluation import ScoredScan, score_scan_masks
from lungdet.geometry import Geometry
from lungdet.structures import (
    CaseNodule,
    CaseRecord,
    Detection,
    SeriesResult,
)

GRID = Geometry.from_parts(
    (20, 24, 28), spacing_zyx=(2, 1, 0.5), origin_xyz=(10, -20, 30)
)


def case(uid: str, subset: int, *boxes: tuple) -> tuple:
    """A case whose nodules are voxel boxes of 4 mm, and its labels."""
    labels = np.zeros(GRID.shape, np.uint8)
    nodules = []
    for number, box in enumerate(boxes, start=1):
        z1, y1, x1, z2, y2, x2 = box
        labels[z1:z2, y1:y2, x1:x2] = number
        (center,) = GRID.box_center_world(np.array([box]))
        nodules.append(
            CaseNodule(
                number,
                tuple(center.tolist()),
                4.0,
                tuple(map(float, box)),
                2 + number,
                True,
                box,
            )
        )
    record = CaseRecord(uid, subset, GRID, GRID, 1.0, nodules, [], 'given')
    return record, labels


def detection(box: tuple, score: float, *, masked: bool = True) -> Detection:
    """A detection of a voxel box, whose mask fills it."""
    z1, y1, x1, z2, y2, x2 = box
    (center,) = GRID.box_center_world(np.array([box]))
    return Detection(
        center_mm=tuple(center.tolist()),
        score=score,
        rpn_score=score / 2,
        size_mm=(2.0 * (z2 - z1), 1.0 * (y2 - y1), 0.5 * (x2 - x1)),
        mask_box=box if masked else None,
        mask=np.ones((z2 - z1, y2 - y1, x2 - x1), bool) if masked else None,
    )


ONE, TWO = (2, 4, 4, 4, 8, 12), (10, 4, 4, 12, 8, 12)
MOVED = (2, 4, 8, 4, 8, 16)  # ONE by 2 mm along x: half of it


def scene() -> tuple[dict[str, ScoredScan], dict[str, CaseRecord]]:
    """Two scans, three nodules; one exact, one missed, one moved mark."""
    scans, records = {}, {}
    for uid, subset, detections in (
        ('a', 0, [detection(ONE, 0.9), detection((0, 0, 0, 2, 2, 2), 0.8)]),
        ('b', 1, [detection(MOVED, 0.7)]),
    ):
        boxes = (ONE, TWO) if uid == 'a' else (ONE,)
        record, labels = case(uid, subset, *boxes)
        records[uid] = record
        result = SeriesResult(uid, detections, GRID)
        masks = score_scan_masks(record, result, labels)
        scans[uid] = ScoredScan(result.without_masks(), masks)
    return scans, records
