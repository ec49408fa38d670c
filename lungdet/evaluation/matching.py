"""LUNA16's rule for the marks of one scan.

At most 100 marks per scan are kept; ties with the 101st are all dropped. A
mark hits a finding if its distance to the centre is less than the radius. A
nodule gets the best score among its hits; extra hits are neither true nor
false positives. Marks on excluded findings that hit no nodule are ignored.
Nodules are matched first, because nearly every nodule contains an excluded
finding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from lungdet.evaluation.points import Points
from lungdet.geometry import points_in_spheres

MAX_MARKS = 100


class MatchOutcome(IntEnum):
    """Match outcome of a mark."""

    CUT = 0  # by the cap
    HIT = 1  # on a nodule, the best one or an extra hit
    IGNORED = 2  # on an excluded finding only
    FALSE = 3  # false positive


@dataclass(frozen=True)
class ScanMatch:
    """Match outcomes of one scan's marks.

    Attributes:
        scores: Scores of all marks (m,), in the given order.
        outcomes: ``MatchOutcome`` of every mark (m,).
        hits: Marks on each nodule (n,), in the order given.
        nodule_scores: Best score on each nodule (n,), NaN if no mark hits it.
    """

    scores: np.ndarray
    outcomes: np.ndarray
    hits: np.ndarray
    nodule_scores: np.ndarray

    @property
    def tp_scores(self) -> np.ndarray:
        """Best score of each detected nodule."""
        return self.nodule_scores[self.hits > 0]

    @property
    def fp_scores(self) -> np.ndarray:
        """Scores of the false positives."""
        return self.scores[self.outcomes == MatchOutcome.FALSE]

    @property
    def nodules(self) -> int:
        """Nodules of the scan."""
        return len(self.hits)

    @property
    def candidates(self) -> int:
        """Marks kept by the cap."""
        return int((self.outcomes != MatchOutcome.CUT).sum())

    @property
    def ignored_excluded(self) -> int:
        """Marks on excluded findings."""
        return int((self.outcomes == MatchOutcome.IGNORED).sum())

    @property
    def ignored_double(self) -> int:
        """Extra hits on detected nodules."""
        return int(np.clip(self.hits - 1, 0, None).sum())

    def only(self, keep: np.ndarray) -> ScanMatch:
        """The same scan with only some of its nodules, (n,) bool.

        Marks on the others stay neither true nor false.
        """
        return replace(
            self, hits=self.hits[keep], nodule_scores=self.nodule_scores[keep]
        )


def cap_marks(scores: np.ndarray, max_marks: int | None) -> np.ndarray:
    """Which marks (n,) survive the cap.

    Marks that tie with the first one beyond the cap are all dropped.

    Examples:
        >>> cap_marks(np.array([0.9, 0.5, 0.5, 0.1]), 2).tolist()
        [True, False, False, False]
    """
    if max_marks is None or len(scores) <= max_marks:
        return np.ones(len(scores), dtype=bool)
    first_cut = -np.sort(-scores, kind='stable')[max_marks]
    return scores > first_cut


def match_scan(
    annotations: Points,
    excluded: Points,
    marks: Points,
    *,
    max_marks: int | None = MAX_MARKS,
) -> ScanMatch:
    """Apply the rule to one scan.

    Args:
        annotations: Centres (n, 3) mm and diameters (n,) of the nodules.
        excluded: The same for the excluded findings.
        marks: Centres (m, 3) mm and scores (m,).
        max_marks: The cap, None for none.

    Source: LUNA16 evaluation script (Setio et al. 2017).

    Examples:
        Two marks on a nodule of 8 mm, the second one an extra hit, and a false
        positive.

        >>> nodules = np.array([[0.0, 0, 0]]), np.array([8.0])
        >>> marks = (
        ...     np.array([[1.0, 0, 0], [0, 2, 0], [0, 4, 0]]),
        ...     np.array([0.9, 0.8, 0.7]),
        ... )
        >>> match = match_scan(nodules, (np.zeros((0, 3)), np.zeros(0)), marks)
        >>> match.tp_scores.tolist(), match.fp_scores.tolist()
        ([0.9], [0.7])
        >>> match.ignored_double
        1
    """
    points, scores = marks
    keep = cap_marks(scores, max_marks)
    kept = scores[keep]
    on_nodule = points_in_spheres(*annotations, points[keep])
    on_excluded = points_in_spheres(*excluded, points[keep])
    of_kept = np.full(len(kept), MatchOutcome.FALSE, dtype=np.int8)
    of_kept[on_excluded.any(0)] = MatchOutcome.IGNORED
    of_kept[on_nodule.any(0)] = MatchOutcome.HIT
    outcomes = np.full(len(scores), MatchOutcome.CUT, dtype=np.int8)
    outcomes[keep] = of_kept
    return ScanMatch(
        scores=scores,
        outcomes=outcomes,
        hits=on_nodule.sum(1),
        nodule_scores=np.array(
            [kept[row].max() if row.any() else np.nan for row in on_nodule],
            dtype=np.float64,
        ),
    )
