"""LUNA16's second track: given candidates, scored by a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lungdet.evaluation.caveats import Caveat
from lungdet.evaluation.froc import FROCResult
from lungdet.evaluation.matching import MatchOutcome
from lungdet.evaluation.points import PointsByScan

SAME_POINT_MM = 0.01


@dataclass(frozen=True)
class CandidateSummary:
    """What the positions of scored candidates allow, whatever their scores.

    Attributes:
        candidates: On the listed scans, before the cap.
        on_nodules: Those on a nodule.
        on_excluded: Those only on an excluded finding; left out of ``auc``.
        nodules: Nodules of the listed scans.
        reached: Nodules with a candidate.
        auc: How often a candidate on a nodule is scored above a false one,
            where ties count half; None if either kind is missing.
    """

    candidates: int
    on_nodules: int
    on_excluded: int
    nodules: int
    reached: int
    auc: float | None

    @property
    def ceiling(self) -> float | None:
        """Highest sensitivity that any scores can reach; None without
        nodules."""
        return self.reached / self.nodules if self.nodules else None


def summarise_candidates(result: FROCResult) -> CandidateSummary:
    """Summarise the candidates of a result.

    Args:
        result: Result of ``evaluate_froc`` with ``max_marks=None``.
    """
    matches = [result.matches[uid] for uid in result.seriesuids]
    outcomes = np.concatenate([m.outcomes for m in matches] or [np.zeros(0)])
    scores = np.concatenate([m.scores for m in matches] or [np.zeros(0)])
    hit, false = (
        scores[outcomes == MatchOutcome.HIT],
        scores[outcomes == MatchOutcome.FALSE],
    )
    return CandidateSummary(
        candidates=len(scores),
        on_nodules=len(hit),
        on_excluded=int((outcomes == MatchOutcome.IGNORED).sum()),
        nodules=result.curve.nodules,
        reached=int(result.curve.tps[-1]),
        auc=_auc(hit, false),
    )


def check_candidates(
    marks: PointsByScan, given: Mapping[str, np.ndarray]
) -> list[Caveat]:
    """Report candidates without a score, and marks that are not candidates.

    Args:
        marks: Series uid -> centres (n, 3) mm and scores (n,).
        given: Series uid -> centres (n, 3) mm.

    Examples:
        >>> given = {'a': np.array([[0.0, 0, 0], [9, 0, 0]])}
        >>> marks = {'a': (np.array([[0.0, 0, 0]]), np.array([0.5]))}
        >>> (caveat,) = check_candidates(marks, given)
        >>> caveat.name, caveat.count
        ('candidates-without-score', 1)
    """
    unscored = sum(
        int((_gap(points, marks.get(u)) > SAME_POINT_MM).sum())
        for u, points in given.items()
    )
    foreign = sum(
        int(
            (
                _gap(m[0], (given[u],) if u in given else None) > SAME_POINT_MM
            ).sum()
        )
        for u, m in marks.items()
    )
    caveats = []
    if unscored:
        caveats.append(
            Caveat(
                'candidates-without-score',
                unscored,
                f'{unscored} of {sum(map(len, given.values()))} given '
                'candidates have no mark; they count as rejected',
            )
        )
    if foreign:
        caveats.append(
            Caveat(
                'marks-beside-candidates',
                foreign,
                f'{foreign} marks are not on a given candidate; the second '
                'track scores the given ones only',
            )
        )
    return caveats


def _gap(points: np.ndarray, others: tuple | None) -> np.ndarray:
    """Distance (n,) of each point to the nearest other, mm."""
    from scipy.spatial import cKDTree

    if others is None or not len(others[0]):
        return np.full(len(points), np.inf)
    return cKDTree(others[0]).query(points)[0]


def _auc(hit: np.ndarray, false: np.ndarray) -> float | None:
    if not len(hit) or not len(false):
        return None
    from scipy.stats import rankdata

    # the Mann-Whitney statistic over the number of pairs
    ranks = rankdata(np.concatenate([hit, false]))[: len(hit)]
    above = ranks.sum() - len(hit) * (len(hit) + 1) / 2
    return float(above / (len(hit) * len(false)))
