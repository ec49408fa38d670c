from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lungdet.evaluation.matching import MatchOutcome, cap_marks, match_scan

NOTHING = np.zeros((0, 3)), np.zeros(0)


def at(*rows: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Points on the x axis, mm, and a value each."""
    return np.array([(x, 0, 0) for x, _ in rows]), np.array(
        [value for _, value in rows]
    )


def test_outcomes_hand_worked() -> None:
    # a nodule of 8 mm at 0, an excluded finding of 10 mm at 6: the mark at 2
    # lies in both and hits, 4 lies on the nodule's surface, so outside
    nodules, excluded = at((0, 8)), at((6, np.nan))
    marks = at((2, 0.3), (1, 0.9), (4, 0.5), (30, 0.7), (30, 0.2))

    match = match_scan(nodules, excluded, marks, max_marks=4)

    hit, ignored, false, cut = (
        MatchOutcome.HIT,
        MatchOutcome.IGNORED,
        MatchOutcome.FALSE,
        MatchOutcome.CUT,
    )
    assert match.outcomes.tolist() == [hit, hit, ignored, false, cut]
    assert match.hits.tolist() == [2] and match.ignored_double == 1
    assert match.tp_scores.tolist() == [0.9]
    assert match.fp_scores.tolist() == [0.7]
    assert (match.candidates, match.ignored_excluded) == (4, 1)


def test_one_mark_hits_every_nodule_that_it_lies_in() -> None:
    match = match_scan(at((0, 8), (3, 8)), NOTHING, at((1.5, 0.4)))

    assert match.hits.tolist() == [1, 1]
    assert match.tp_scores.tolist() == [0.4, 0.4]


def test_marks_on_left_out_nodules_are_neither_true_nor_false() -> None:
    match = match_scan(at((0, 8), (50, 8)), NOTHING, at((0, 0.9), (50, 0.8)))

    part = match.only(np.array([False, True]))

    assert part.nodules == 1 and part.tp_scores.tolist() == [0.8]
    assert not len(part.fp_scores)


@given(
    scores=st.lists(st.integers(0, 6), max_size=12), most=st.integers(0, 12)
)
def test_the_cap_drops_whole_ties(scores: list[int], most: int) -> None:
    keep = cap_marks(np.array(scores, dtype=float), most)

    kept = [s for s, stays in zip(scores, keep) if stays]
    dropped = [s for s, stays in zip(scores, keep) if not stays]
    assert len(kept) <= most
    assert not set(kept) & set(dropped)
    assert not kept or not dropped or min(kept) > max(dropped)
    if dropped:  # with the next score there would be too many
        assert len(kept) + dropped.count(max(dropped)) > most
