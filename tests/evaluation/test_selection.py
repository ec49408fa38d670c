from __future__ import annotations

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.evaluation import Selection
from lungdet.geometry import Geometry
from lungdet.structures import Detection, Dropped, SeriesResult

GRID = Geometry.from_parts(
    (20, 30, 40), spacing_zyx=(1.0, 1.0, 1.0), origin_xyz=(-5.0, 7.0, 100.0)
)


def at(
    z: float, y: float, x: float, score: float, side: float = 4.0
) -> Detection:
    cx, cy, cz = GRID.to_world(np.array([[z, y, x]], dtype=float))[0].tolist()
    return Detection((cx, cy, cz), score, size_mm=(side, side, side))


def selected(
    detections: list[Detection], selection: Selection
) -> tuple[list[float], dict[str, int]]:
    result = selection.apply(SeriesResult('a', detections, GRID))
    counts = {dropped.rule: dropped.count for dropped in result.dropped}
    return [d.score for d in result.detections], counts


@pytest.mark.parametrize(
    ('gap', 'side', 'kept'),
    [
        (3.9, 2.0, [0.9]),
        (4.0, 2.0, [0.9, 0.8]),
        (5.9, 12.0, [0.9]),  # concentric boxes of one nodule
        (6.0, 12.0, [0.9, 0.8]),
    ],
)
def test_detections_of_one_nodule_become_one(
    gap: float, side: float, kept: list[float]
) -> None:
    detections = [at(10, 10, 10, 0.9, 2.0), at(10, 10, 10 + gap, 0.8, side)]

    scores, dropped = selected(detections, Selection(None, None, 4.0))

    assert scores == kept
    assert dropped == {'merge': 2 - len(kept)}


def test_scores_below_the_threshold_go_and_are_counted() -> None:
    detections = [at(10, 15, 15, 0.9), at(10, 15, 20, 0.2), at(9, 9, 9, 0.19)]
    outside = Dropped('lungs', 8.0, 40)
    result = SeriesResult(
        'a', detections, GRID, caveats=['a doubt'], dropped=(outside,)
    )

    kept = Selection(0.2, None, None).apply(result)

    assert [d.score for d in kept.detections] == [0.9, 0.2]
    assert kept.caveats == [
        'a doubt',
        'detections were dropped: 40 more than 8 mm outside the lungs (before '
        'NMS), 1 with a score below 0.2',
    ]
    assert kept.dropped == (outside, Dropped('score', 0.2, 1))
    assert len(result.detections) == 3 and result.dropped == (outside,)


def test_nothing_is_dropped_where_every_rule_is_off() -> None:
    detections = [at(10, 15, 15, 0.9), at(0, 0, 0, 0.01), at(0, 0, 0, 0.0)]

    scores, dropped = selected(detections, Selection(None, None, None))

    assert scores == [0.9, 0.01, 0.0] and not dropped


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ({'score_thr': 1.5}, 'score threshold: 1.5'),
        ({'score_thr': float('nan')}, 'score threshold: nan'),
        ({'lung_margin_mm': -1.0}, 'lung_margin_mm: -1'),
        ({'merge_mm': float('nan')}, 'merge_mm: nan'),
    ],
)
def test_impossible_rules_are_named(arguments: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Selection(**arguments)
