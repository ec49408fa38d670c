from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lungdet.engine.scan_rows import ScoreOptions, scan_row, score_rows
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.io.reference_set import official_reference
from lungdet.structures import (
    Annotation,
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


def found(box: tuple, score: float, *, masked: bool = True) -> Detection:
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


def scene() -> tuple[dict, dict]:
    """Two scans, three nodules; one exact, one missed, one moved mark."""
    records, rows = {}, {}
    for uid, subset, detections in (
        ('a', 0, [found(ONE, 0.9), found((0, 0, 0, 2, 2, 2), 0.8)]),
        ('b', 1, [found(MOVED, 0.7)]),
    ):
        boxes = (ONE, TWO) if uid == 'a' else (ONE,)
        record, labels = case(uid, subset, *boxes)
        records[uid] = record
        rows[uid] = scan_row(
            record, SeriesResult(uid, detections, GRID), labels
        )
    return records, rows


def test_rows_survive_json_and_give_the_same_figures() -> None:
    records, rows = scene()
    options = ScoreOptions(bootstrap=20)

    scores = score_rows(rows, records, options)

    again = json.loads(json.dumps(rows))
    assert score_rows(again, records, options).to_dict() == scores.to_dict()
    json.dumps(scores.to_dict())  # plain values only


def test_figures_of_a_scene_worked_by_hand() -> None:
    records, rows = scene()

    scores = score_rows(rows, records, ScoreOptions(bootstrap=0))

    # the moved mark is 2 mm from the centre, at the radius, so no hit
    assert scores.results['fused'].counts['tp'] == 1
    assert set(scores.results) == {'fused', 'rpn'}
    # boxes: IoU 1 of .9, nothing of .8, 1/3 of .7; three nodules. Up to
    # IoU .3 precision 1 to recall 1/3 (34 of 101), 2/3 to 2/3 (33)
    low, high = (34 + 33 * 2 / 3) / 101, 34 / 101
    assert scores.precision.values == pytest.approx([low] * 5 + [high] * 4)
    masks = scores.masks
    assert masks['detected']['dice'] == (1.0, 1)
    assert masks['all']['dice'] == pytest.approx((1 / 3, 3))
    # in the cube of b's nodule half the voxels are predicted: Dice 2/3
    assert masks['box']['dice'] == pytest.approx(((1 + 0 + 2 / 3) / 3, 3))
    # matched: a's first one, and b's, half of each mask: Dice 1/2
    assert masks['matched']['dice'] == pytest.approx(((1 + 1 / 2) / 2, 2))
    # scan a: 128 reference, 64 + 8 predicted, 64 common; scan b: Dice 1/2
    assert masks['scan']['dice'] == pytest.approx(
        ((2 * 64 / (128 + 72) + 1 / 2) / 2, 2)
    )
    assert scores.metrics()['mask/dice_all'] == pytest.approx(1 / 3)
    assert '2 scans of 2 listed, 3 nodules' in scores.text(2)


def test_official_findings_are_called_so() -> None:
    official = official_reference()
    uid = official.seriesuids[0]
    nodules = [
        CaseNodule(k, f.center_mm, f.diameter_mm, (0.0,) * 6)
        for k, f in enumerate(official.annotations[uid], start=1)
    ]
    record = CaseRecord(
        uid, 8, GRID, GRID, 1.0, nodules, official.excluded[uid], 'given'
    )
    row = scan_row(record, SeriesResult(uid, [], GRID), None)

    def name(record: CaseRecord) -> str:
        return score_rows({uid: row}, {uid: record}, ScoreOptions()).reference

    assert name(record) == 'official'
    assert name(replace(record, excluded=record.excluded[1:])) == 'prepared'
    assert name(replace(record, nodules=nodules[1:])) == 'prepared'


@pytest.mark.parametrize(
    ('column', 'nodules'),
    [
        ('diameter', {'< 6 mm': 3}),
        ('num_readers', {'3': 2, '4': 1}),
        ('subset', {'0': 2, '1': 1}),
    ],
)
def test_strata_of_prepared_fields(column: str, nodules: dict) -> None:
    records, rows = scene()

    scores = score_rows(rows, records, ScoreOptions(strata=column))

    counts = {k: r.counts['nodules'] for k, r in scores.strata.items()}
    assert counts == nodules
    with pytest.raises(ConfigError, match="'colour' is neither"):
        score_rows(rows, records, ScoreOptions(strata='colour'))


def test_cap_and_read_out_are_passed_on() -> None:
    records, rows = scene()

    capped = score_rows(
        rows, records, ScoreOptions(max_marks=1, read_out='next')
    ).results['fused']

    assert capped.marks_cut == 1 and capped.read_out == 'next'


def test_excluded_findings_and_scans_without_masks() -> None:
    record, _ = case('a', 0, ONE)
    (center,) = GRID.box_center_world(np.array([TWO]))
    record.excluded.append(Annotation(tuple(center.tolist()), None))
    detections = [found(ONE, 0.9, masked=False), found(TWO, 0.8, masked=False)]

    row = scan_row(record, SeriesResult('a', detections, GRID), None)

    assert row['masks'] == [] and row['scan_mask'] is None
    scores = score_rows({'a': row}, {'a': record}, ScoreOptions())
    assert scores.results['fused'].counts['ignored_excluded'] == 1
    assert scores.masks == {}
