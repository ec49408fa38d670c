"""Intervals of a FROC curve: scans resampled with replacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.errors import ConfigError
from lungdet.evaluation.curve import FROCCurve, read_interp
from lungdet.evaluation.froc import FROCResult, named_read_out
from lungdet.evaluation.resampling import RankedScores, resampled_curves

LEVEL = 0.95
TAILS = (50 * (1 - LEVEL), 50 * (1 + LEVEL))  # percent
OFFICIAL_GRID = 10_000  # rates from 1/8 to 8 in the official file
BAND_GRID = np.geomspace(0.125, 8, 97)

Interval = tuple[float, float]

Runs = FROCResult | Sequence[FROCResult]


@dataclass(frozen=True)
class Bootstrap:
    """95 % intervals of all values read from one curve.

    Attributes:
        resamples: Resamples used; those without a nodule are left out.
        cpm: Lower and upper bound.
        sensitivities: The same at each rate of the result.
        band_rates: False positives per scan of the band, ascending.
        band_lower: Lower bound of the curve there.
        band_upper: Upper bound.
    """

    resamples: int
    cpm: Interval
    sensitivities: list[Interval]
    band_rates: np.ndarray
    band_lower: np.ndarray
    band_upper: np.ndarray

    def to_dict(self) -> dict:
        """Plain JSON values, without the band."""
        return {
            'resamples': self.resamples,
            'level': LEVEL,
            'cpm': list(self.cpm),
            'sensitivities': [list(pair) for pair in self.sensitivities],
        }


@dataclass(frozen=True)
class Difference:
    """A first system minus a second one, on the same resampled scans.

    Attributes:
        resamples: Resamples used.
        cpm: Difference of the two CPMs on all scans.
        cpm_interval: Its 95 % interval.
        cpm_p: Two-sided p value: how rarely resamples are beyond 0.
        sensitivities: Differences at each rate.
        intervals: Their intervals.
        p: Their p values.
    """

    resamples: int
    cpm: float
    cpm_interval: Interval
    cpm_p: float
    sensitivities: list[float]
    intervals: list[Interval]
    p: list[float]

    def to_dict(self) -> dict:
        """Plain JSON values."""
        return {'level': LEVEL, **vars(self)}


def bootstrap_froc(
    result: Runs, *, resamples: int = 1000, seed: int = 0
) -> Bootstrap | None:
    """95 % intervals of sensitivities and CPM by resampling scans.

    Args:
        result: Result of ``evaluate_froc``; its read-out is used. Several runs
            of one system, such as of several seeds, are averaged in each
            resample.
        resamples: How often to resample the scans.
        seed: Seed of the resampling; equal seeds resample the same scans for
            every result.

    Returns:
        Percentile intervals; None if nothing can be resampled: no nodule, no
        scan, or ``resamples`` below 1.

    Examples:
        >>> from lungdet.evaluation import evaluate_froc
        >>> nodules = {'a': (np.zeros((1, 3)), np.array([8.0]))}
        >>> marks = {'a': (np.zeros((1, 3)), np.array([0.9]))}
        >>> result = evaluate_froc(nodules, {}, marks, ['a'])
        >>> bootstrap_froc(result, resamples=5).cpm
        (1.0, 1.0)
    """
    runs = _as_runs(result)
    read, rates = named_read_out(runs[0].read_out), runs[0].rates
    at_rates, on_band = [], []
    for curves in resampled_curves(runs, resamples, seed):
        at_rates.append(np.mean([read(c, rates) for c in curves], axis=0))
        on_band.append(
            np.mean([read_interp(c, BAND_GRID) for c in curves], axis=0)
        )
    if not at_rates:
        return None
    values = np.array(at_rates)
    band = np.percentile(np.array(on_band), TAILS, axis=0)
    return Bootstrap(
        resamples=len(values),
        cpm=_interval(values.mean(1)),
        sensitivities=[_interval(column) for column in values.T],
        band_rates=BAND_GRID,
        band_lower=band[0],
        band_upper=band[1],
    )


def paired_bootstrap(
    first: Runs,
    second: Runs,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference | None:
    """Difference of two systems, with the same resampled scans for both.

    p is two-sided: twice the fraction of resamples at or beyond 0, with the
    observed value counted as one resample, so it is never 0.

    Args:
        first: Result of ``evaluate_froc``; several runs of one system are
            averaged in each resample.
        second: The same scans, nodules, rates and read-out.
        resamples: How often to resample the scans.
        seed: Seed of the resampling.

    Returns:
        ``first`` minus ``second``; None if nothing can be resampled.

    Raises:
        ConfigError: The two were scored differently.

    Source: Efron and Tibshirani 1993, chapters 13 and 15 (percentiles,
        achieved significance).
    """
    ones, others = _as_runs(first), _as_runs(second)
    runs = [*ones, *others]
    for other in runs[1:]:
        _check_pair(runs[0], other)
    read, rates = named_read_out(runs[0].read_out), runs[0].rates

    def difference(curves: Sequence[FROCCurve]) -> np.ndarray:
        reads = np.array([read(curve, rates) for curve in curves])
        return reads[: len(ones)].mean(0) - reads[len(ones) :].mean(0)

    drawn = [
        difference(curves)
        for curves in resampled_curves(runs, resamples, seed)
    ]
    if not drawn:
        return None
    values = np.array(drawn)
    observed = difference([run.curve for run in runs])
    return Difference(
        resamples=len(values),
        cpm=float(observed.mean()),
        cpm_interval=_interval(values.mean(1)),
        cpm_p=_two_sided(values.mean(1)),
        sensitivities=observed.tolist(),
        intervals=[_interval(column) for column in values.T],
        p=[_two_sided(column) for column in values.T],
    )


def official_bootstrap(
    result: FROCResult, *, rng: np.random.RandomState, resamples: int = 1000
) -> np.ndarray:
    """Rows of the official bootstrap file.

    Args:
        result: Result of ``evaluate_froc``, the scans in the official order.
        rng: Legacy generator, as the official script draws from it.
        resamples: How often to resample the scans.

    Returns:
        (10000, 4): rate, mean, lower and upper bound. As in the script, values
        are float32, and the bounds are the sorted values at positions 2.5 %
        and 97.5 % of ``resamples``, counted from 0 and rounded down.

    Source: LUNA16 evaluation script (Setio et al. 2017).
    """
    rates = np.linspace(0.125, 8, OFFICIAL_GRID)
    ranked, num = RankedScores.of(result), len(result.seriesuids)
    values = np.zeros((resamples, OFFICIAL_GRID), dtype=np.float32)
    for row in values:
        times = np.bincount(rng.randint(num, size=num), minlength=num)
        row[:] = read_interp(ranked.curve(times), rates)
    values.sort(axis=0)
    tail = (1 - LEVEL) / 2
    return np.stack(
        [
            rates,
            values.mean(0),
            values[int(tail * resamples)],
            values[int((1 - tail) * resamples)],
        ],
        axis=1,
    )


def _as_runs(result: Runs) -> list[FROCResult]:
    return [result] if isinstance(result, FROCResult) else list(result)


def _check_pair(first: FROCResult, second: FROCResult) -> None:
    for what, one, two in (
        ('scans', first.seriesuids, second.seriesuids),
        ('rates', first.rates, second.rates),
        ('read-outs', first.read_out, second.read_out),
        ('caps on marks', first.max_marks, second.max_marks),
        ('nodules', first.curve.nodules, second.curve.nodules),
    ):
        if one != two:
            raise ConfigError(
                f'paired bootstrap: the two results have different {what}; '
                'score both against the same tables, list and options.'
            )


def _interval(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, TAILS)
    return float(low), float(high)


def _two_sided(differences: np.ndarray) -> float:
    low = (1 + (differences <= 0).sum()) / (1 + len(differences))
    high = (1 + (differences >= 0).sum()) / (1 + len(differences))
    return float(min(1.0, 2 * min(low, high)))
