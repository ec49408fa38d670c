"""Calibration: how often marks of a score are nodules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungdet.evaluation.froc import FROCResult
from lungdet.evaluation.matching import MatchOutcome

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Marks in bins of their score; empty bins are left out.

    Attributes:
        mean_scores: Mean score of each bin.
        hit_fractions: Fraction of its marks that lie on a nodule.
        numbers: How many marks it has.
        error: Mean distance of the two, weighted by marks (expected
            calibration error).
        brier: Mean squared distance of score and outcome.
    """

    mean_scores: list[float]
    hit_fractions: list[float]
    numbers: list[int]
    error: float
    brier: float


def calibrate(result: FROCResult, *, bins: int = BINS) -> Calibration | None:
    """Compare scores with outcomes, in bins of equal width over [0, 1].

    Marks on a nodule are hits, including extra ones; false positives are not;
    marks on excluded findings and marks dropped by the cap are left out.

    Returns:
        None if there are no such marks, or a score is outside [0, 1].

    Source: Guo et al. 2017, section 2 (expected calibration error).

    Examples:
        >>> from lungdet.evaluation import evaluate_froc
        >>> nodules = {'a': (np.array([[0.0, 0, 0]]), np.array([8.0]))}
        >>> marks = {'a': (np.zeros((1, 3)), np.array([0.75]))}
        >>> calibrate(evaluate_froc(nodules, {}, marks, ['a'])).error
        0.25
    """
    matches = [result.matches[uid] for uid in result.seriesuids]
    outcomes = np.concatenate([m.outcomes for m in matches] or [np.zeros(0)])
    scores = np.concatenate([m.scores for m in matches] or [np.zeros(0)])
    counted = (outcomes == MatchOutcome.HIT) | (outcomes == MatchOutcome.FALSE)
    scores, hit = scores[counted], outcomes[counted] == MatchOutcome.HIT
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        return None
    bin_of = np.minimum((scores * bins).astype(int), bins - 1)
    numbers = np.bincount(bin_of, minlength=bins)
    filled = numbers > 0
    means, fractions = (
        np.bincount(bin_of, weights=values, minlength=bins)[filled]
        / numbers[filled]
        for values in (scores, hit)
    )
    gaps = np.abs(means - fractions)
    return Calibration(
        mean_scores=means.tolist(),
        hit_fractions=fractions.tolist(),
        numbers=numbers[filled].tolist(),
        error=float((gaps * numbers[filled]).sum() / len(scores)),
        brier=float(((scores - hit) ** 2).mean()),
    )
