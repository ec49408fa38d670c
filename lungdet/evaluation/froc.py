"""FROC by LUNA16's rule.

The rule, as the official script applies it: at most 100 marks a scan (ties
with the 101st all go); a mark hits when its distance to the centre is
strictly below the radius; a nodule takes the best score among its hits, and
further hits are neither true nor false; marks on excluded findings that hit
no nodule are ignored; a finding without diameter counts 10 mm. Included
findings are matched first, because nearly every nodule has an excluded
finding inside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lungdet.errors import AnnotationError

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MAX_MARKS = 100
UNKNOWN_DIAMETER_MM = 10.0

Findings = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass
class ScanMatch:
    """What became of one scan's marks.

    Attributes:
        tp_scores: Best score of each detected nodule.
        fp_scores: Scores of the false positives.
        nodules: Included findings of the scan.
        candidates: Marks kept by the cap.
        ignored_excluded: Marks on excluded findings.
        ignored_double: Further hits on detected nodules.
    """

    tp_scores: np.ndarray
    fp_scores: np.ndarray
    nodules: int
    candidates: int
    ignored_excluded: int
    ignored_double: int


@dataclass
class FROCResult:
    """A FROC curve and what is read from it.

    Attributes:
        rates: False positives per scan at which it is read.
        sensitivities: Linear interpolation at the rates (the official
            arithmetic); None if there is no nodule.
        sensitivities_step: The same with false positives counted as whole
            numbers, so a vertical step exactly at a rate is taken at its top.
        counts: scans, nodules, tp, fp, fn, candidates, ignored_excluded,
            ignored_double.
        fp_per_scan: Abscissa of the curve.
        sensitivity: Ordinate.
        threshold: Score of each point; the first is infinite.
        matches: What became of each scan's marks, by series uid.
        warnings: What a reader of the figures must know, in words.
    """

    rates: tuple[float, ...]
    sensitivities: list[float] | None
    sensitivities_step: list[float] | None
    counts: dict[str, int]
    fp_per_scan: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray
    matches: dict[str, ScanMatch]
    warnings: list[str] = field(default_factory=list)

    @property
    def cpm(self) -> float | None:
        """Mean sensitivity over the rates; None without nodules."""
        if self.sensitivities is None:
            return None
        return float(np.mean(self.sensitivities))

    @property
    def cpm_step(self) -> float | None:
        """``cpm`` of ``sensitivities_step``."""
        if self.sensitivities_step is None:
            return None
        return float(np.mean(self.sensitivities_step))

    def to_dict(self) -> dict:
        """The content of froc.json."""
        return {
            'rates': list(self.rates),
            'sensitivities': self.sensitivities,
            'cpm': self.cpm,
            'sensitivities_step': self.sensitivities_step,
            'cpm_step': self.cpm_step,
            'counts': self.counts,
        }


def evaluate_froc(
    annotations: Findings,
    excluded: Findings,
    marks: Findings,
    seriesuids: Sequence[str],
    *,
    max_marks: int | None = MAX_MARKS,
    rates: Sequence[float] = RATES,
) -> FROCResult:
    """Score marks against reference findings.

    Args:
        annotations: Series uid -> centres (n, 3) mm and diameters (n,) mm.
        excluded: The same for excluded findings; a negative or NaN diameter
            is unknown.
        marks: Series uid -> centres (n, 3) mm and scores (n,).
        seriesuids: The scans; their number is the denominator. Findings and
            marks of other scans are not looked at.
        max_marks: The cap, None for none.
        rates: False positives per scan to read at.

    Returns:
        Curve, read-outs and counts. Without any mark or hit all
        sensitivities are 0; without any nodule they are None. Beyond the
        curve's end the last value holds.

    Raises:
        AnnotationError: Arrays of wrong shape, a number that is not finite,
            or marks none of whose scans is listed.

    Source: LUNA16 evaluation script (Setio et al. 2017).
    """
    warnings = _check_ids(marks, set(seriesuids))
    matches = {
        uid: match_scan(
            _of_scan(annotations, uid, 'annotations'),
            _of_scan(excluded, uid, 'excluded'),
            _of_scan(marks, uid, 'marks'),
            max_marks=max_marks,
        )
        for uid in dict.fromkeys(seriesuids)
    }
    warnings += _check_cap(marks, matches, max_marks)
    listed = [matches[uid] for uid in seriesuids]
    tp = _joined([m.tp_scores for m in listed])
    fp = _joined([m.fp_scores for m in listed])
    nodules = sum(m.nodules for m in listed)
    x, y, threshold, fp_count = froc_curve(tp, fp, nodules, len(listed))
    readable = nodules > 0
    whole = fp_count / max(len(listed), 1)
    return FROCResult(
        rates=tuple(rates),
        sensitivities=read_curve(x, y, rates) if readable else None,
        sensitivities_step=read_curve(whole, y, rates) if readable else None,
        counts={
            'scans': len(listed),
            'nodules': nodules,
            'tp': len(tp),
            'fp': len(fp),
            'fn': nodules - len(tp),
            'candidates': sum(m.candidates for m in listed),
            'ignored_excluded': sum(m.ignored_excluded for m in listed),
            'ignored_double': sum(m.ignored_double for m in listed),
        },
        fp_per_scan=x,
        sensitivity=y,
        threshold=threshold,
        matches=matches,
        warnings=warnings,
    )


def _of_scan(
    table: Findings, uid: str, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Checked float64 arrays of one scan; empty where it is not listed."""
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
            'that is not finite and has no place on the curve; correct or '
            'remove it.'
        )
    return centers, values


def _check_ids(marks: Findings, listed: set[str]) -> list[str]:
    """Warn of marks outside the scan list; refuse if all of them are."""
    counts = {uid: len(values) for uid, (_, values) in marks.items()}
    unlisted = {u: n for u, n in counts.items() if n and u not in listed}
    if not unlisted:
        return []
    example = next(iter(unlisted))
    if not any(n for uid, n in counts.items() if uid in listed):
        raise AnnotationError(
            f'marks: none of {len(unlisted)} scans is in the scan list '
            f'(first: {example!r}); ids are compared as text. Check the ids '
            'and the list.'
        )
    return [
        f'{sum(unlisted.values())} marks of {len(unlisted)} scans that are '
        f'not listed were left out (first: {example!r})'
    ]


def _check_cap(
    marks: Findings, matches: Mapping[str, ScanMatch], max_marks: int | None
) -> list[str]:
    """Warn where ties with the first mark cut left fewer than allowed."""
    short = {
        uid: max_marks - match.candidates
        for uid, match in matches.items()
        if max_marks is not None
        and len(marks.get(uid, ((), ()))[1]) > max_marks
        and match.candidates < max_marks
    }
    if not short:
        return []
    return [
        f'the cap of {max_marks} marks dropped {sum(short.values())} marks '
        f'of {len(short)} scans that tie with the first one cut (first: '
        f'{next(iter(short))!r}); write scores with more digits'
    ]


def cap_marks(scores: np.ndarray, max_marks: int | None) -> np.ndarray:
    """Which marks (n,) survive the cap; ties with the first cut all go."""
    if max_marks is None or len(scores) <= max_marks:
        return np.ones(len(scores), dtype=bool)
    first_cut = -np.sort(-scores, kind='stable')[max_marks]
    return scores > first_cut


def match_scan(
    annotations: tuple[np.ndarray, np.ndarray],
    excluded: tuple[np.ndarray, np.ndarray],
    marks: tuple[np.ndarray, np.ndarray],
    *,
    max_marks: int | None = MAX_MARKS,
) -> ScanMatch:
    """Apply the rule to one scan."""
    keep = cap_marks(marks[1], max_marks)
    points, scores = marks[0][keep], marks[1][keep]
    hits = _hits(annotations, points)
    tp_scores = np.array(
        [scores[row].max() for row in hits if row.any()], dtype=np.float64
    )
    used = hits.any(0) if len(hits) else np.zeros(len(points), dtype=bool)
    beside = _hits(excluded, points)
    on_excluded = ~used & (
        beside.any(0) if len(beside) else np.zeros(len(points), dtype=bool)
    )
    return ScanMatch(
        tp_scores=tp_scores,
        fp_scores=scores[~used & ~on_excluded],
        nodules=len(annotations[1]),
        candidates=len(points),
        ignored_excluded=int(on_excluded.sum()),
        ignored_double=int(sum(row.sum() - 1 for row in hits if row.any())),
    )


def _hits(
    findings: tuple[np.ndarray, np.ndarray], points: np.ndarray
) -> np.ndarray:
    """(findings, marks) bool: is the mark strictly inside the radius."""
    centers, diameters = findings
    unknown = ~(diameters >= 0)
    radius = np.where(unknown, UNKNOWN_DIAMETER_MM, diameters) / 2.0
    gap = centers[:, None, :] - points[None, :, :]
    # summed in the official order x, y, z; np.sum could pair differently
    square = gap[..., 0] ** 2 + gap[..., 1] ** 2 + gap[..., 2] ** 2
    return square < (radius**2)[:, None]


def froc_curve(
    tp_scores: np.ndarray, fp_scores: np.ndarray, nodules: int, scans: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Curve in the official arithmetic.

    Returns:
        False positives per scan, sensitivity, threshold and the whole number
        of false positives of each point, one per distinct score from high to
        low, behind a first point (0, 0) with infinite threshold.
    """
    threshold = np.unique(np.concatenate([tp_scores, fp_scores]))[::-1]
    tps = len(tp_scores) - np.searchsorted(np.sort(tp_scores), threshold)
    fps = len(fp_scores) - np.searchsorted(np.sort(fp_scores), threshold)
    x, y = curve_axis(fps, scans), curve_axis(tps, nodules)
    zero = np.zeros(1)
    return (
        np.concatenate([zero, x]),
        np.concatenate([zero, y]),
        np.concatenate([[np.inf], threshold]),
        np.concatenate([zero, fps]),
    )


def curve_axis(counts: np.ndarray, denominator: int) -> np.ndarray:
    """Running counts over ``denominator``, rounded as the official script.

    It goes through the share of the last count, so a value can lie one unit
    in the last place beside ``counts / denominator``, and a vertical step of
    the curve beside a rate. All zero where there is nothing to count.
    """
    if not len(counts) or not counts[-1] or not denominator:
        return np.zeros(len(counts))
    return (counts / counts[-1]) * counts[-1] / denominator


def read_curve(
    x: np.ndarray, y: np.ndarray, rates: Sequence[float]
) -> list[float]:
    """Linear interpolation; at a vertical step its top, beyond the end y."""
    return [float(v) for v in np.interp(rates, x, y)]


def thinned_curve(result: FROCResult) -> np.ndarray:
    """Rows of the official FROC table: (n, 3) rate, sensitivity, threshold.

    The script drops a point where the step to it equals the step from it;
    the first and the last score stay, and (0, 0) is put in front afterwards.
    """
    fps = np.rint(result.fp_per_scan * result.counts['scans'])[1:]
    tps = np.rint(result.sensitivity * result.counts['nodules'])[1:]
    keep = np.ones(len(fps), dtype=bool)
    keep[1:-1] = (np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0)
    rows = np.stack(
        [result.fp_per_scan, result.sensitivity, result.threshold], axis=1
    )
    return rows[np.concatenate([[True], keep])]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)
