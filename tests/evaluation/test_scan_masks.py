from __future__ import annotations

import json

import pytest

from lungdet.evaluation import ScanMasks, score_scan_masks, summarise_masks
from lungdet.structures import SeriesResult
from tests.evaluation.case_scene import GRID, MOVED, ONE, TWO, case, detection


def score(*boxes: tuple) -> ScanMasks:
    """A case of two nodules, and detections of falling score."""
    record, labels = case('a', 0, ONE, TWO)
    detections = [detection(box, 0.9 - k / 10) for k, box in enumerate(boxes)]
    return score_scan_masks(
        record, SeriesResult('a', detections, GRID), labels
    )


def test_the_best_detection_that_hits_is_compared() -> None:
    # MOVED is 2 mm beside ONE, on its surface; the exact one comes second
    one, two = score(MOVED, ONE).nodules

    assert (one.nodule, one.detected, one.dice, one.iou) == (1, True, 1.0, 1.0)
    assert (two.nodule, two.detected, two.dice) == (2, False, 0.0)
    assert one.matched.dice == 1.0 and two.matched is None


def test_nothing_detected_scores_zero() -> None:
    masks = score()

    assert [nodule.dice for nodule in masks.nodules] == [0.0, 0.0]
    assert masks.scan.dice == 0.0 and masks.scan.surface_mm is None
    summary = summarise_masks([masks])
    assert summary['all']['dice'] == (0.0, 2) and 'detected' not in summary


def test_agreement_survives_json() -> None:
    masks = score(ONE, MOVED)

    again = ScanMasks.from_dict(json.loads(json.dumps(masks.to_dict())))

    assert again == masks


def test_the_scan_counts_only_if_every_nodule_has_a_mask() -> None:
    record, labels = case('a', 0, ONE)
    record.nodules.append(case('a', 0, TWO)[0].nodules[0])
    bare = vars(record.nodules[1]) | {'has_mask': False, 'id': 2}
    record.nodules[1] = type(record.nodules[0])(**bare)

    masks = score_scan_masks(
        record, SeriesResult('a', [detection(ONE, 0.9)], GRID), labels
    )

    assert masks.scan is None
    assert [n.dice for n in masks.nodules] == pytest.approx([1.0])
