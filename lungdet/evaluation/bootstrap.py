"""Intervals of a FROC curve: scans drawn with replacement.

Marks are sorted once; a draw only counts how often each scan came, so no
curve is built from copied scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.evaluation.froc import FROCResult, ScanMatch, curve_axis

LEVEL = 0.95
OFFICIAL_GRID = 10_000  # rates from 1/8 to 8 in the official file
BAND_GRID = np.geomspace(0.125, 8, 97)


@dataclass(frozen=True)
class Bootstrap:
    """95 % intervals of everything read from one curve.

    Attributes:
        samples: Draws used; draws without a nodule are left out.
        cpm: Lower and upper bound.
        sensitivities: The same at each rate of the result.
        band_rates: False positives per scan of the band, ascending.
        band_lower: Lower bound of the curve there.
        band_upper: Upper bound.
    """

    samples: int
    cpm: tuple[float, float]
    sensitivities: list[tuple[float, float]]
    band_rates: np.ndarray
    band_lower: np.ndarray
    band_upper: np.ndarray

    def to_dict(self) -> dict:
        """Plain JSON values, without the band."""
        return {
            'samples': self.samples,
            'level': LEVEL,
            'cpm': list(self.cpm),
            'sensitivities': [list(pair) for pair in self.sensitivities],
        }


@dataclass(frozen=True)
class RankedScores:
    """The scores of listed scans, sorted once.

    Attributes:
        tp_scan: Place in the scan list of each true positive, best first.
        fp_scan: The same of each false positive.
        tp_end: Number of true positives at or above each distinct score.
        fp_end: Number of false positives there.
        nodules: Nodules of each listed scan.
    """

    tp_scan: np.ndarray
    fp_scan: np.ndarray
    tp_end: np.ndarray
    fp_end: np.ndarray
    nodules: np.ndarray

    @classmethod
    def of(cls, matches: Sequence[ScanMatch]) -> RankedScores:
        """Rank the marks of scans in the order of the scan list."""
        tp_scan, tp = _with_scan([m.tp_scores for m in matches])
        fp_scan, fp = _with_scan([m.fp_scores for m in matches])
        order = np.argsort(-tp, kind='stable')
        tp_scan, tp = tp_scan[order], tp[order]
        order = np.argsort(-fp, kind='stable')
        fp_scan, fp = fp_scan[order], fp[order]
        falling = -np.unique(np.concatenate([tp, fp]))[::-1]
        return cls(
            tp_scan,
            fp_scan,
            np.searchsorted(-tp, falling, side='right'),
            np.searchsorted(-fp, falling, side='right'),
            np.array([m.nodules for m in matches], dtype=np.int64),
        )

    def curve(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Curve of a draw in which scan k came ``times[k]`` times."""
        tps = _running(times[self.tp_scan])[self.tp_end]
        fps = _running(times[self.fp_scan])[self.fp_end]
        zero = np.zeros(1)
        return (
            np.concatenate([zero, curve_axis(fps, len(times))]),
            np.concatenate([zero, curve_axis(tps, int(times @ self.nodules))]),
        )


def bootstrap_froc(
    result: FROCResult,
    seriesuids: Sequence[str],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Bootstrap | None:
    """95 % intervals of sensitivities and CPM, scans drawn with replacement.

    Args:
        result: Of ``evaluate_froc``.
        seriesuids: The scans as given there.
        samples: How often to draw.
        seed: Of the draws; equal seeds draw equal scans for every result.

    Returns:
        Percentile intervals; None where nothing can be drawn: no nodule, no
        scan, or ``samples`` below 1.
    """
    if result.sensitivities is None or not seriesuids or samples < 1:
        return None
    ranked = RankedScores.of([result.matches[uid] for uid in seriesuids])
    num = len(seriesuids)
    rng = np.random.default_rng(seed)
    at_rates, on_band = [], []
    for _ in range(samples):
        times = np.bincount(rng.integers(num, size=num), minlength=num)
        if not (times @ ranked.nodules):
            continue
        x, y = ranked.curve(times)
        at_rates.append(np.interp(result.rates, x, y))
        on_band.append(np.interp(BAND_GRID, x, y))
    if not at_rates:
        return None
    tails = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    values = np.array(at_rates)
    low, high = np.percentile(values.mean(1), tails)
    band = np.percentile(np.array(on_band), tails, axis=0)
    return Bootstrap(
        samples=len(values),
        cpm=(float(low), float(high)),
        sensitivities=[
            (float(a), float(b))
            for a, b in np.percentile(values, tails, axis=0).T
        ],
        band_rates=BAND_GRID,
        band_lower=band[0],
        band_upper=band[1],
    )


def bootstrap_cpm(
    result: FROCResult,
    seriesuids: Sequence[str],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The CPM's interval of ``bootstrap_froc`` alone."""
    found = bootstrap_froc(result, seriesuids, samples=samples, seed=seed)
    return None if found is None else found.cpm


def official_bootstrap(
    result: FROCResult,
    seriesuids: Sequence[str],
    *,
    rng: np.random.RandomState,
    samples: int = 1000,
) -> np.ndarray:
    """Rows of the official bootstrap file.

    Args:
        result: Of ``evaluate_froc``.
        seriesuids: The scans as given there, in the official order.
        rng: Legacy generator, as the official script draws from it.
        samples: How often to draw.

    Returns:
        (10000, 4): rate, mean, lower and upper bound. The script's own
        conventions: float32 values, bounds are the sorted values number
        2.5 % and 97.5 % of ``samples``, counted from 0 and rounded down.

    Source: LUNA16 evaluation script (Setio et al. 2017).
    """
    rates = np.linspace(0.125, 8, OFFICIAL_GRID)
    ranked = RankedScores.of([result.matches[uid] for uid in seriesuids])
    values = np.zeros((samples, OFFICIAL_GRID), dtype=np.float32)
    for row, times in zip(values, _legacy_draws(rng, len(seriesuids))):
        row[:] = np.interp(rates, *ranked.curve(times))
    values.sort(axis=0)
    tail = (1 - LEVEL) / 2
    return np.stack(
        [
            rates,
            values.mean(0),
            values[int(tail * samples)],
            values[int((1 - tail) * samples)],
        ],
        axis=1,
    )


def _legacy_draws(
    rng: np.random.RandomState, num: int
) -> Iterator[np.ndarray]:
    while True:
        drawn = rng.randint(num, size=num)
        yield np.bincount(drawn, minlength=num)


def _running(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])


def _with_scan(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Place in the list and value of every element."""
    scan = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return scan, np.concatenate(parts) if parts else np.zeros(0)
