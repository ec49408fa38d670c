"""The shipped detector gives the same results in bfloat16 as in float32.

The bounds were fixed before anything was computed. A detection's counterpart
is the nearest detection of the other precision, if their centres are closer
than 4 mm or the larger radius: two such detections of one result are merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lungdet.apis import NoduleInferencer
from lungdet.evaluation import Selection
from lungdet.io.image import load_volume
from lungdet.ops import computes_bfloat16
from lungdet.structures import Detection
from tests.real_scans import real_scans

LEAST_SCORE = 0.1
MOST_APART = 0.02  # scores
SURE_SCORE = 0.5
SAME_MM = 4.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not computes_bfloat16('cpu'),
        reason='this processor has no bfloat16 arithmetic',
    ),
]
MISSED = pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason='22 of 943 scores differ by more, 7 of them because the other '
    'precision keeps no such box, and one of the 105 above 0.5: docs/infer.md',
)
Detections = dict[str, dict[str, list[Detection]]]  # by scan, precision


@pytest.fixture(scope='module')
def detections(test_data: Path) -> Detections:
    """All detections of each scan in both precisions."""
    inferencers = {
        name: NoduleInferencer(
            device='cpu', precision=name, selection=Selection(score_thr=None)
        )
        for name in ('fp32', 'bf16')
    }
    both: Detections = {}
    for scan in real_scans(test_data):
        case = inferencers['fp32'].prepare(load_volume(scan))
        both[scan.stem] = {
            name: inferencer.detect(case).detections
            for name, inferencer in inferencers.items()
        }
    if len(both) != 9:
        pytest.fail(f'{len(both)} of 9 real scans in {test_data}')
    return both


def counterparts(
    ones: list[Detection], others: list[Detection]
) -> Iterator[tuple[Detection, Detection | None]]:
    """Each detection with its counterpart; None if there is none."""
    centers = np.array([d.center_mm for d in others]).reshape(-1, 3)
    for one in ones:
        gaps = np.linalg.norm(centers - np.array(one.center_mm), axis=1)
        nearest = others[int(gaps.argmin())] if len(gaps) else None
        if nearest is not None:
            radii = [(d.diameter_mm or 0) / 2 for d in (one, nearest)]
            if gaps.min() >= max(*radii, SAME_MM):
                nearest = None
        yield one, nearest


def above(detections: list[Detection]) -> list[Detection]:
    return [d for d in detections if d.score > LEAST_SCORE]


def apart(detections: Detections, least: float, most: float) -> dict:
    """Scores above ``least`` that differ by more than ``most``."""
    differ = {}
    for uid, both in detections.items():
        for name, other in (('fp32', 'bf16'), ('bf16', 'fp32')):
            ones = [d for d in both[name] if d.score > least]
            for one, same in counterparts(ones, both[other]):
                score = same.score if same is not None else 0.0
                if abs(one.score - score) > most:
                    differ[uid, name, one.center_mm] = (one.score, score)
    return differ


@MISSED
def test_few_scores_differ_and_none_that_is_sure(
    detections: Detections,
) -> None:
    """The weights before, with one view: 20 above 0.1, none above 0.5."""
    assert len(apart(detections, LEAST_SCORE, MOST_APART)) <= 20
    assert not apart(detections, SURE_SCORE, MOST_APART)


@MISSED
def test_scores_are_the_same(detections: Detections) -> None:
    assert not apart(detections, LEAST_SCORE, MOST_APART)


@MISSED
def test_detections_are_the_same(detections: Detections) -> None:
    missing = {}
    for uid, both in detections.items():
        for name, other in (('fp32', 'bf16'), ('bf16', 'fp32')):
            kept = above(both[other])
            for one, same in counterparts(above(both[name]), kept):
                if same is None:
                    missing[uid, name, one.center_mm] = one.score

    assert not missing
