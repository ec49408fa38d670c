from __future__ import annotations

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.evaluation import Selection
from lungdet.evaluation.selection import is_near_mask
from lungdet.geometry import Geometry
from lungdet.structures import Detection, Dropped, SeriesResult

GRID = Geometry.from_parts(
    (20, 30, 40), spacing_zyx=(1.0, 1.0, 1.0), origin_xyz=(-5.0, 7.0, 100.0)
)


def lungs() -> np.ndarray:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5:15, 10:20, 10:20] = 1
    return mask


def at(
    z: float, y: float, x: float, score: float, side: float = 4.0
) -> Detection:
    cx, cy, cz = GRID.to_world(np.array([[z, y, x]], dtype=float))[0].tolist()
    return Detection((cx, cy, cz), score, size_mm=(side, side, side))


def selected(
    detections: list[Detection], selection: Selection
) -> tuple[list[float], dict[str, int]]:
    result = selection.apply(SeriesResult('a', detections, GRID), lungs())
    counts = {dropped.rule: dropped.count for dropped in result.dropped}
    return [d.score for d in result.detections], counts


def test_a_margin_around_the_lungs_is_kept() -> None:
    detections = [
        at(10, 15, 15, 0.9),
        at(10, 15, 27, 0.8),  # 8 mm from the last voxel
        at(10, 15, 27.5, 0.7),
        at(0, 0, 0, 0.6),
    ]

    scores, dropped = selected(detections, Selection(None, 8.0, None))

    assert scores == [0.9, 0.8]
    assert dropped == {'lungs': 2}


def test_nearness_is_the_literal_distance(rng: np.random.Generator) -> None:
    mask = lungs()
    voxels = np.argwhere(mask)
    for index in rng.uniform(-4, 34, (60, 3)):
        point = tuple(GRID.to_world(index[None])[0].tolist())
        distance = np.sqrt(((voxels - index) ** 2).sum(1)).min()

        near = is_near_mask(point, mask, GRID, 3.0)

        inside = np.abs(voxels - index).max(1).min() < 0.5
        assert near == (distance <= 3.0 or inside)


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
    result = SeriesResult('a', detections, GRID, caveats=['a doubt'])

    kept = Selection(0.2, None, None).apply(result, lungs())

    assert [d.score for d in kept.detections] == [0.9, 0.2]
    assert kept.caveats == [
        'a doubt',
        '1 detections were dropped: 1 with a score below 0.2',
    ]
    assert kept.dropped == (Dropped('score', 0.2, 1),)
    assert len(result.detections) == 3 and not result.dropped


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
