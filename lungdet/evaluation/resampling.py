"""FROC curves of resampled scans, without copying scores.

The marks of a result are sorted once; a resample only counts how often each
scan was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.evaluation.curve import FROCCurve
from lungdet.evaluation.froc import FROCResult


@dataclass(frozen=True)
class RankedScores:
    """The scores of the listed scans, sorted once.

    Attributes:
        tp_scan: Position in the scan list of each true positive, best first.
        fp_scan: The same of each false positive.
        threshold: Infinity, then the distinct scores, descending.
        tp_end: Number of true positives at or above each threshold.
        fp_end: Number of false positives there.
        nodules: Nodules of each listed scan.
    """

    tp_scan: np.ndarray
    fp_scan: np.ndarray
    threshold: np.ndarray
    tp_end: np.ndarray
    fp_end: np.ndarray
    nodules: np.ndarray

    @classmethod
    def of(cls, result: FROCResult) -> RankedScores:
        """Rank the marks of the listed scans."""
        matches = [result.matches[uid] for uid in result.seriesuids]
        tp_scan, tp = _ranked([m.tp_scores for m in matches])
        fp_scan, fp = _ranked([m.fp_scores for m in matches])
        falling = np.unique(np.concatenate([tp, fp, [np.inf]]))[::-1]
        return cls(
            tp_scan,
            fp_scan,
            falling,
            np.searchsorted(-tp, -falling, side='right'),
            np.searchsorted(-fp, -falling, side='right'),
            np.array([m.nodules for m in matches], dtype=np.int64),
        )

    def curve(self, times: np.ndarray) -> FROCCurve:
        """Curve of a resample that contains scan k ``times[k]`` times.

        Scores that only scans outside the resample have repeat the point
        before them.

        Examples:
            >>> from lungdet.evaluation import evaluate_froc
            >>> point, none = np.zeros((1, 3)), (np.zeros((0, 3)), np.zeros(0))
            >>> nodules = {'a': (point, np.array([8.0])), 'b': none}
            >>> marks = {uid: (point, np.array([0.9])) for uid in 'ab'}
            >>> result = evaluate_froc(nodules, {}, marks, ['a', 'b'])
            >>> twice_a = RankedScores.of(result).curve(np.array([2, 0]))
            >>> twice_a.tps.tolist(), twice_a.fps.tolist(), twice_a.nodules
            ([0, 2], [0, 0], 2)
        """
        tps = _running_sum(times[self.tp_scan])[self.tp_end]
        fps = _running_sum(times[self.fp_scan])[self.fp_end]
        nodules = int(times @ self.nodules)
        return FROCCurve(self.threshold, tps, fps, nodules, len(times))


def resampled_curves(
    results: Sequence[FROCResult], resamples: int, seed: int
) -> Iterator[list[FROCCurve]]:
    """Curves of every result on the same resampled scans.

    Resamples without a nodule are left out.

    Args:
        results: Results on the same scans.
        resamples: How often to resample.
        seed: Equal seeds resample the same scans for every result.
    """
    num_scans = len(results[0].seriesuids)
    if not num_scans:
        return
    ranked = [RankedScores.of(result) for result in results]
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = rng.integers(num_scans, size=num_scans)
        times = np.bincount(drawn, minlength=num_scans)
        if times @ ranked[0].nodules:
            yield [each.curve(times) for each in ranked]


def _running_sum(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])


def _ranked(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Position in the list and value of every element, best value first."""
    scan = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    values = np.concatenate(parts) if parts else np.zeros(0)
    order = np.argsort(-values, kind='stable')
    return scan[order], values[order]
