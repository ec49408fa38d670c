from __future__ import annotations

import numpy as np
import pytest

from lungdet.evaluation import evaluate_froc
from lungdet.evaluation.candidates import (
    check_candidates,
    summarise_candidates,
)
from tests.evaluation.points import at


def test_ceiling_and_area_under_the_curve() -> None:
    # hits .9, .5; false .7, .5, .1: pairs won 3 and 1.5 of 3 each -> 4.5 / 6
    result = evaluate_froc(
        {'a': at((0, 0, 0, 8), (99, 0, 0, 8))},
        {'a': at((-50, 0, 0, 8))},
        {
            'a': at((0, 1, 0, 0.9), (0, 0, 1, 0.5), (-50, 0, 1, 0.99)),
            'b': at((1, 2, 3, 0.7), (9, 9, 9, 0.5), (40, 0, 0, 0.1)),
        },
        ['a', 'b'],
        max_marks=None,
    )

    summary = summarise_candidates(result)

    assert (summary.candidates, summary.on_nodules, summary.on_excluded) == (
        6,
        2,
        1,
    )
    assert (summary.reached, summary.nodules, summary.ceiling) == (1, 2, 0.5)
    assert summary.auc == pytest.approx(4.5 / 6)


def test_unscored_and_foreign_candidates_are_told() -> None:
    given = {
        'a': np.array([[0.0, 0, 0], [5, 5, 5]]),
        'b': np.array([[1.0, 2, 3]]),
    }
    marks = {
        'a': at((0.000001, 0, 0, 0.5), (8, 5, 5, 0.5)),
        'c': at((0, 0, 0, 0.5)),
    }

    unscored, foreign = check_candidates(marks, given)

    assert (unscored.name, unscored.count) == ('candidates-without-score', 2)
    assert (foreign.name, foreign.count) == ('marks-beside-candidates', 2)
    assert check_candidates({'b': at((1, 2, 3, 0.1))}, {'b': given['b']}) == []
