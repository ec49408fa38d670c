from __future__ import annotations

import pytest

from lungdet.evaluation import (
    evaluate_froc,
)
from tests.evaluation.points import at


def test_hand_worked_curve() -> None:
    # 2 scans, 2 nodules; hits .9 and .4, false positives .7 and .2:
    # (0, .5) at .9, (.5, .5) at .7, (.5, 1) at .4, (1, 1) at .2
    result = evaluate_froc(
        {'a': at((0, 0, 0, 8)), 'b': at((5, 5, 5, 8))},
        {'a': at((50, 0, 0, -1))},
        {
            'a': at((1, 0, 0, 0.9), (30, 0, 0, 0.7), (50, 1, 0, 0.99)),
            'b': at((5, 5, 6, 0.4), (40, 0, 0, 0.2)),
        },
        ['a', 'b'],
    )

    assert result.counts['ignored_excluded'] == 1
    assert result.sensitivities == [0.5, 0.5, 1, 1, 1, 1, 1]
    assert result.cpm == pytest.approx(6 / 7)


def test_curve_that_ends_before_a_rate_keeps_its_last_value() -> None:
    # 4 scans, 2 nodules, one hit at .9, one false positive at .8: the curve
    # ends at 1/4 false positives with sensitivity 1/2
    result = evaluate_froc(
        {'a': at((0, 0, 0, 8)), 'b': at((0, 0, 0, 8))},
        {},
        {'a': at((0, 0, 0, 0.9)), 'c': at((0, 0, 0, 0.8))},
        ['a', 'b', 'c', 'd'],
    )

    assert result.curve.fp_per_scan.max() == 0.25
    assert result.sensitivities == [0.5] * 7
    assert result.to_dict()['cpm'] == 0.5


def test_a_tie_of_hit_and_false_positive_slopes() -> None:
    # 1 scan, 1 nodule, both marks at .5: one segment from (0, 0) to (1, 1)
    result = evaluate_froc(
        {'a': at((0, 0, 0, 8))},
        {},
        {'a': at((0, 0, 0, 0.5), (30, 0, 0, 0.5))},
        ['a'],
    )

    assert result.sensitivities == [0.125, 0.25, 0.5, 1, 1, 1, 1]
