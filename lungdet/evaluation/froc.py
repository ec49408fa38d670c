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
from dataclasses import dataclass

import numpy as np

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
    """

    rates: tuple[float, ...]
    sensitivities: list[float] | None
    sensitivities_step: list[float] | None
    counts: dict[str, int]
    fp_per_scan: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray
    matches: dict[str, ScanMatch]

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

    Source: LUNA16 evaluation script (Setio et al. 2017).
    """
    none = np.zeros((0, 3)), np.zeros(0)
    matches = {
        uid: match_scan(
            annotations.get(uid, none),
            excluded.get(uid, none),
            marks.get(uid, none),
            max_marks=max_marks,
        )
        for uid in dict.fromkeys(seriesuids)
    }
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
    )


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
    num_tp, num_fp = len(tp_scores), len(fp_scores)
    tps = num_tp - np.searchsorted(np.sort(tp_scores), threshold)
    fps = num_fp - np.searchsorted(np.sort(fp_scores), threshold)
    x = np.zeros(len(threshold))
    y = np.zeros(len(threshold))
    if num_fp and scans:
        x = (fps / num_fp) * num_fp / scans
    if num_tp:
        y = (tps / num_tp) * num_tp / nodules
    zero = np.zeros(1)
    return (
        np.concatenate([zero, x]),
        np.concatenate([zero, y]),
        np.concatenate([[np.inf], threshold]),
        np.concatenate([zero, fps]),
    )


def read_curve(
    x: np.ndarray, y: np.ndarray, rates: Sequence[float]
) -> list[float]:
    """Linear interpolation; at a vertical step its top, beyond the end y."""
    return [float(v) for v in np.interp(rates, x, y)]


def bootstrap_cpm(
    result: FROCResult,
    seriesuids: Sequence[str],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % interval of the CPM, scans drawn with replacement.

    Args:
        result: Of ``evaluate_froc``.
        seriesuids: The scans as given there.
        samples: How often to draw.
        seed: Of the draws.

    Returns:
        2.5th and 97.5th percentile; None without nodules. Draws without a
        nodule are left out.
    """
    if result.sensitivities is None or not seriesuids:
        return None
    matches = [result.matches[uid] for uid in seriesuids]
    scan_tp, tp = _with_scan([m.tp_scores for m in matches])
    scan_fp, fp = _with_scan([m.fp_scores for m in matches])
    nodules = np.array([m.nodules for m in matches])
    tp_order, fp_order = np.argsort(-tp), np.argsort(-fp)
    scores = np.unique(np.concatenate([tp, fp]))[::-1]
    tp_rank = np.searchsorted(-tp[tp_order], -scores, side='right')
    fp_rank = np.searchsorted(-fp[fp_order], -scores, side='right')
    scan_tp, scan_fp = scan_tp[tp_order], scan_fp[fp_order]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(samples):
        drawn = rng.integers(len(matches), size=len(matches))
        times = np.bincount(drawn, minlength=len(matches))
        total = int((times * nodules).sum())
        if total == 0:
            continue
        tps = np.concatenate([[0], np.cumsum(times[scan_tp])])[tp_rank]
        fps = np.concatenate([[0], np.cumsum(times[scan_fp])])[fp_rank]
        x = np.concatenate([[0], fps / len(matches)])
        y = np.concatenate([[0], tps / total])
        values.append(np.interp(result.rates, x, y).mean())
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)


def _with_scan(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    scan = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return scan, _joined(parts)
