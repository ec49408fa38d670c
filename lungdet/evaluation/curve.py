"""The FROC curve of the official script, and four ways to read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAREST_GRID = np.linspace(0.125, 8, 10_001)
STORED_DIGITS = 9  # of the official FROC table
ROUNDING = 1e-9  # larger differences of sensitivities are not of rounding

Rates = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class FROCCurve:
    """Running counts at each distinct score, from high to low.

    The first point has no mark and an infinite threshold.

    Attributes:
        threshold: Score of each point.
        tps: Detected nodules at or above it, whole numbers.
        fps: False positives at or above it, whole numbers.
        nodules: Denominator of the sensitivity.
        scans: Denominator of the false positives.
    """

    threshold: np.ndarray
    tps: np.ndarray
    fps: np.ndarray
    nodules: int
    scans: int

    @classmethod
    def of(
        cls,
        tp_scores: np.ndarray,
        fp_scores: np.ndarray,
        nodules: int,
        scans: int,
    ) -> FROCCurve:
        """The curve of the scores of all scans.

        Args:
            tp_scores: Best score of each detected nodule.
            fp_scores: Score of each false positive.
            nodules: Nodules of the listed scans.
            scans: Listed scans.

        Examples:
            >>> curve = FROCCurve.of(np.array([0.9]), np.array([0.8]), 2, 4)
            >>> curve.fp_per_scan.tolist(), curve.sensitivity.tolist()
            ([0.0, 0.0, 0.25], [0.0, 0.5, 0.5])
        """
        threshold = np.unique(np.concatenate([tp_scores, fp_scores]))[::-1]
        tps = len(tp_scores) - np.searchsorted(np.sort(tp_scores), threshold)
        fps = len(fp_scores) - np.searchsorted(np.sort(fp_scores), threshold)
        return cls(
            np.concatenate([[np.inf], threshold]),
            np.concatenate([[0], tps]),
            np.concatenate([[0], fps]),
            nodules,
            scans,
        )

    @cached_property
    def fp_per_scan(self) -> np.ndarray:
        """Abscissa in the official arithmetic."""
        return _official_quotient(self.fps, self.scans)

    @cached_property
    def sensitivity(self) -> np.ndarray:
        """Ordinate in the official arithmetic."""
        return _official_quotient(self.tps, self.nodules)

    @cached_property
    def whole_fp_per_scan(self) -> np.ndarray:
        """Abscissa from whole false positives, rounded once."""
        return self.fps / max(self.scans, 1)


def _official_quotient(counts: np.ndarray, denominator: int) -> np.ndarray:
    """Running counts over ``denominator``, rounded as the official script.

    It is computed from the fraction of the last count, so a value can differ
    from ``counts / denominator`` by one unit in the last place, and a vertical
    step of the curve can be next to a rate. All zero if there is nothing to
    count.
    """
    last = counts[-1]
    if not last or not denominator:
        return np.zeros(len(counts))
    return (counts / last) * last / denominator


def thinned(curve: FROCCurve) -> np.ndarray:
    """Rows (n, 3) of the official FROC table: rate, sensitivity, threshold.

    The script drops a point if the step to it equals the step from it; the
    first and the last score stay, and (0, 0) is prepended afterwards.
    """
    new = np.flatnonzero(np.diff(curve.tps + curve.fps, prepend=-1))
    fps, tps = curve.fps[new[1:]], curve.tps[new[1:]]
    keep = np.ones(len(new), dtype=bool)
    keep[2:-1] = (np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0)
    rows = (curve.fp_per_scan, curve.sensitivity, curve.threshold)
    return np.stack(rows, axis=1)[new[keep]]


def read_interp(curve: FROCCurve, rates: Rates) -> np.ndarray:
    """Linear interpolation, the last value beyond the end (official).

    Examples:
        >>> curve = FROCCurve.of(np.array([0.9, 0.7]), np.array([0.8]), 2, 2)
        >>> read_interp(curve, [0.125, 0.25, 0.5]).tolist()
        [0.5, 0.5, 1.0]
    """
    return np.interp(rates, curve.fp_per_scan, curve.sensitivity)


def read_step(curve: FROCCurve, rates: Rates) -> np.ndarray:
    """The same over whole false positives: the top of a step at a rate."""
    return np.interp(rates, curve.whole_fp_per_scan, curve.sensitivity)


def steps_at(curve: FROCCurve, rates: Rates) -> np.ndarray:
    """Rates (n,) bool at which a vertical step of the curve lies.

    The official arithmetic may then read its bottom: the two readings above
    differ by that step, not by rounding.
    """
    gap = read_step(curve, rates) - read_interp(curve, rates)
    return np.abs(gap) > ROUNDING


def read_nearest(curve: FROCCurve, rates: Rates) -> np.ndarray:
    """At the nearest of 10,001 rates from 1/8 to 8 (DeepLung's table)."""
    gap = np.abs(NEAREST_GRID[None] - np.asarray(rates)[:, None])
    return read_interp(curve, NEAREST_GRID[gap.argmin(1)])


def read_next(curve: FROCCurve, rates: Rates) -> np.ndarray:
    """First row of the official table at the rate or above it.

    Of several rows at one rate the last one counts; beyond the end, the last
    row. This can skip several false positives (NoduleNet's table).
    """
    x, y, _ = np.round(thinned(curve), STORED_DIGITS).T
    row = np.minimum(np.searchsorted(x, rates), len(x) - 1)
    return y[np.searchsorted(x, x[row], side='right') - 1]


ReadOut = Callable[[FROCCurve, Rates], np.ndarray]
READ_OUTS: dict[str, ReadOut] = {
    'interp': read_interp,
    'step': read_step,
    'nearest': read_nearest,
    'next': read_next,
}
