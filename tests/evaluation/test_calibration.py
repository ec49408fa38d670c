from __future__ import annotations

import numpy as np
import pytest

from lungdet.evaluation import calibrate, evaluate_froc
from tests.evaluation.points import at


def test_hand_worked_bins() -> None:
    # bins of 1/4: .2 (false), .3 (hit, a double) and .4 (false), 1 (hit);
    # the mark on the excluded finding and the one cut are left out
    result = evaluate_froc(
        {'a': at((0, 0, 0, 8))},
        {'a': at((60, 0, 0, -1))},
        {
            'a': at(
                (0, 1, 0, 1),
                (0, 0, 1, 0.3),
                (30, 0, 0, 0.4),
                (30, 5, 0, 0.2),
                (61, 0, 0, 0.9),
                (90, 0, 0, 0.1),
            )
        },
        ['a'],
        max_marks=5,
    )

    calibration = calibrate(result, bins=4)

    assert calibration.numbers == [1, 2, 1]
    np.testing.assert_allclose(calibration.mean_scores, [0.2, 0.35, 1.0])
    assert calibration.hit_fractions == [0.0, 0.5, 1.0]
    # (.2 + 2 * .15 + 0) / 4, and (.04 + .49 + .16 + 0) / 4
    assert calibration.error == pytest.approx(0.125)
    assert calibration.brier == pytest.approx(0.1725)


def test_scores_drawn_as_their_own_probability_are_calibrated(
    rng: np.random.Generator,
) -> None:
    # a mark of score s lies on a nodule with probability s; with 4,000 marks
    # in 10 bins a bin's fraction scatters by at most .5 / sqrt(400) = .025
    scores = rng.random(4000)
    hit = rng.random(4000) < scores
    uids = [str(k) for k in range(4000)]
    nodules = {u: at((0, 0, 0, 8)) for u in uids}
    marks = {
        u: at((0 if h else 50, 0, 0, s)) for u, s, h in zip(uids, scores, hit)
    }

    calibration = calibrate(evaluate_froc(nodules, {}, marks, uids))

    assert sum(calibration.numbers) == 4000
    assert calibration.error < 0.025
    # the mean of s (1 - s) over [0, 1] is 1/6
    assert calibration.brier == pytest.approx(1 / 6, abs=0.01)


def test_logits_and_silence_have_no_calibration() -> None:
    nodule = {'a': at((0, 0, 0, 8))}
    logits = evaluate_froc(nodule, {}, {'a': at((0, 0, 0, 2.5))}, ['a'])
    silent = evaluate_froc(nodule, {}, {}, ['a'])

    assert calibrate(logits) is None
    assert calibrate(silent) is None
