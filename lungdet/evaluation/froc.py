"""FROC by LUNA16's rule, from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lungdet.errors import AnnotationError, ConfigError
from lungdet.evaluation.caveats import (
    Caveat,
    check_curve,
    check_marks,
)
from lungdet.evaluation.curve import READ_OUTS, FROCCurve, ReadOut, steps_at
from lungdet.evaluation.frames import check_frame
from lungdet.evaluation.matching import (
    MAX_MARKS,
    MatchOutcome,
    ScanMatch,
    match_scan,
)
from lungdet.evaluation.points import Points, PointsByScan
from lungdet.evaluation.scan_lists import check_scan_list

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class FROCResult:
    """A FROC curve and what is read from it.

    Attributes:
        seriesuids: The listed scans, in order.
        matches: Match outcomes of each scan's marks, by series uid.
        curve: FROC curve of all listed scans.
        rates: False positives per scan at which it is read.
        read_out: How it is read, a key of ``READ_OUTS``.
        max_marks: Marks kept of each scan; None for all.
        caveats: What anyone who uses the figures must know.
    """

    seriesuids: tuple[str, ...]
    matches: Mapping[str, ScanMatch]
    curve: FROCCurve
    rates: tuple[float, ...] = RATES
    read_out: str = 'interp'
    max_marks: int | None = MAX_MARKS
    caveats: tuple[Caveat, ...] = ()

    def read(self, read_out: str) -> list[float] | None:
        """Sensitivities at the rates; None if there is no nodule."""
        if not self.curve.nodules:
            return None
        return READ_OUTS[read_out](self.curve, self.rates).tolist()

    @property
    def sensitivities(self) -> list[float] | None:
        """By the result's read-out."""
        return self.read(self.read_out)

    @property
    def cpm(self) -> float | None:
        """Mean sensitivity over the rates; None without nodules."""
        return mean_sensitivity(self.sensitivities)

    @property
    def step_at_rate(self) -> bool:
        """Whether a vertical step lies exactly at a rate, see ``steps_at``."""
        has_nodules = self.curve.nodules > 0
        return has_nodules and bool(steps_at(self.curve, self.rates).any())

    @property
    def thresholds(self) -> list[float | None]:
        """``threshold_at`` each rate."""
        return [self.threshold_at(rate) for rate in self.rates]

    def threshold_at(self, rate: float) -> float | None:
        """Lowest score to keep for at most ``rate`` false positives a scan.

        None if no score is high enough.
        """
        fps, allowed = self.curve.fps, rate * self.curve.scans
        last = np.searchsorted(fps, allowed, side='right') - 1
        score = float(self.curve.threshold[last])
        return None if np.isinf(score) else score

    @property
    def counts(self) -> dict[str, int]:
        """scans, nodules, tp, fp, fn, candidates and what was ignored."""
        listed = [self.matches[uid] for uid in self.seriesuids]
        tp, fp = int(self.curve.tps[-1]), int(self.curve.fps[-1])
        return {
            'scans': len(listed),
            'nodules': self.curve.nodules,
            'tp': tp,
            'fp': fp,
            'fn': self.curve.nodules - tp,
            'candidates': sum(m.candidates for m in listed),
            'ignored_excluded': sum(m.ignored_excluded for m in listed),
            'ignored_double': sum(m.ignored_double for m in listed),
        }

    @property
    def nodules_by_scan(self) -> list[int]:
        """Number of nodules of each listed scan."""
        return [self.matches[uid].nodules for uid in self.seriesuids]

    @property
    def marks_cut(self) -> int:
        """Marks dropped by the cap."""
        matches = (self.matches[uid] for uid in self.seriesuids)
        return sum(
            int((m.outcomes == MatchOutcome.CUT).sum()) for m in matches
        )

    @property
    def scans_without_marks(self) -> int:
        """Listed scans that the submission does not mention."""
        matches = (self.matches[uid] for uid in self.seriesuids)
        return sum(not len(m.scores) for m in matches)

    def to_dict(self) -> dict:
        """Plain JSON values, without the caveats."""
        step = self.read('step')
        return {
            'rates': list(self.rates),
            'read_out': self.read_out,
            'max_marks': self.max_marks,
            'sensitivities': self.sensitivities,
            'cpm': self.cpm,
            'sensitivities_step': step,
            'cpm_step': mean_sensitivity(step),
            'thresholds': self.thresholds,
            'counts': self.counts,
            'marks_cut': self.marks_cut,
            'scans_without_marks': self.scans_without_marks,
        }


def mean_sensitivity(sensitivities: Sequence[float] | None) -> float | None:
    """The CPM, which is their mean; None without nodules.

    Examples:
        >>> mean_sensitivity([0.5, 0.75, 1.0])
        0.75
    """
    return None if sensitivities is None else float(np.mean(sensitivities))


def evaluate_froc(
    annotations: PointsByScan,
    excluded: PointsByScan,
    marks: PointsByScan,
    seriesuids: Sequence[str],
    *,
    max_marks: int | None = MAX_MARKS,
    rates: Sequence[float] = RATES,
    read_out: str = 'interp',
) -> FROCResult:
    """Score marks against reference findings.

    Args:
        annotations: Series uid -> centres (n, 3) mm and diameters (n,) mm.
        excluded: The same for excluded findings; a negative or NaN diameter
            is unknown.
        marks: Series uid -> centres (n, 3) mm and scores (n,).
        seriesuids: The scans; their number is the denominator. Findings and
            marks of other scans are left out.
        max_marks: The cap, None for none.
        rates: False positives per scan to read at.
        read_out: A name of ``READ_OUTS``; ``'interp'`` is official.

    Returns:
        Without any mark or hit all sensitivities are 0; without any nodule
        they are None. Beyond the curve's end its last value is used.

    Raises:
        AnnotationError: Arrays of the wrong shape, a number that is not
            finite, or marks on unlisted scans only.
        ConfigError: An unknown read-out.

    Source: LUNA16 evaluation script (Setio et al. 2017).

    Examples:
        >>> nodules = {'a': (np.array([[0.0, 0, 0]]), np.array([8.0]))}
        >>> marks = {
        ...     'a': (np.array([[1.0, 0, 0]]), np.array([0.9])),
        ...     'b': (np.array([[5.0, 5, 5]]), np.array([0.8])),
        ... }
        >>> result = evaluate_froc(nodules, {}, marks, ['a', 'b'])
        >>> result.cpm, result.counts['tp'], result.counts['fp']
        (1.0, 1, 1)
    """
    named_read_out(read_out)
    uids = tuple(dict.fromkeys(seriesuids))
    nodules = _of_scans(annotations, uids, 'annotations')
    exclusions = _of_scans(excluded, uids, 'excluded')
    listed = _of_scans(marks, uids, 'marks')
    caveats = check_marks(listed, marks, nodules, exclusions)
    caveats += check_scan_list(annotations, excluded, uids)
    tables = nodules, exclusions, listed
    matches = {
        uid: match_scan(*(t[uid] for t in tables), max_marks=max_marks)
        for uid in uids
    }
    result = summarise(matches, seriesuids, rates=rates, read_out=read_out)
    caveats += check_curve(matches, result.curve, rates, max_marks)
    caveats += check_frame(matches, *tables)
    return replace(result, max_marks=max_marks, caveats=tuple(caveats))


def summarise(
    matches: Mapping[str, ScanMatch],
    seriesuids: Sequence[str],
    *,
    rates: Sequence[float] = RATES,
    read_out: str = 'interp',
) -> FROCResult:
    """The curve of scans whose marks are already matched.

    Args:
        matches: Series uid -> outcome of its marks.
        seriesuids: The scans that count.
        rates: False positives per scan to read at.
        read_out: A name of ``READ_OUTS``.
    """
    listed = [matches[uid] for uid in seriesuids]
    curve = FROCCurve.of(
        _joined([m.tp_scores for m in listed]),
        _joined([m.fp_scores for m in listed]),
        sum(m.nodules for m in listed),
        len(listed),
    )
    return FROCResult(
        tuple(seriesuids), matches, curve, tuple(rates), read_out
    )


def named_read_out(name: str) -> ReadOut:
    """The read-out with that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in READ_OUTS:
        raise ConfigError(
            f'read_out: {name!r} is not known; choose one of '
            f'{", ".join(READ_OUTS)}.'
        )
    return READ_OUTS[name]


def _of_scans(
    table: PointsByScan, uids: Sequence[str], name: str
) -> dict[str, Points]:
    return {uid: _of_scan(table, uid, name) for uid in uids}


def _of_scan(table: PointsByScan, uid: str, name: str) -> Points:
    """Checked float64 arrays of one scan; empty if it has no row."""
    if uid not in table:
        return np.zeros((0, 3)), np.zeros(0)
    centers, values = (np.asarray(a, dtype=np.float64) for a in table[uid])
    if centers.shape != (*values.shape, 3) or values.ndim != 1:
        raise AnnotationError(
            f'{name}[{uid!r}]: shapes {centers.shape} and {values.shape}; '
            'give centres (n, 3) and one value each (n,).'
        )
    # an unknown diameter may be NaN, a score may not
    finite = np.isfinite(centers).all(1)
    finite &= np.isfinite(values) if name == 'marks' else ~np.isinf(values)
    if not finite.all():
        raise AnnotationError(
            f'{name}[{uid!r}]: row {int(np.argmin(finite))} holds a number '
            'that is not finite, so it cannot be ranked; correct or remove '
            'it.'
        )
    return centers, values


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)
