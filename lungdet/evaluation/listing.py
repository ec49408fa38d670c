"""A result scan by scan, nodule by nodule, mark by mark."""

from __future__ import annotations

import numpy as np

from lungdet.evaluation.froc import FROCResult
from lungdet.evaluation.matching import Findings, MatchOutcome

Row = dict[str, str | int | float]


def scan_rows(result: FROCResult) -> list[Row]:
    """One row a listed scan; ``_at_1`` counts marks kept at 1 FP per scan."""
    threshold = result.threshold_at(1.0)
    limit = np.inf if threshold is None else threshold
    rows: list[Row] = []
    for uid in result.seriesuids:
        match = result.matches[uid]
        rows.append(
            {
                'seriesuid': uid,
                'nodules': match.nodules,
                'detected': len(match.tp_scores),
                'detected_at_1': int((match.tp_scores >= limit).sum()),
                'marks': len(match.scores),
                'marks_cut': int((match.outcomes == MatchOutcome.CUT).sum()),
                'false_positives': len(match.fp_scores),
                'false_positives_at_1': int((match.fp_scores >= limit).sum()),
                'ignored_excluded': match.ignored_excluded,
                'ignored_double': match.ignored_double,
            }
        )
    return rows


def nodule_rows(result: FROCResult, annotations: Findings) -> list[Row]:
    """One row a nodule, the hardest first.

    ``fp_per_scan`` is what finding it costs; it and ``probability`` are
    empty for a nodule that no mark hits. Those come first, largest first.

    Args:
        result: What the marks did.
        annotations: The nodules it was scored against.
    """
    rows: list[Row] = []
    cost = dict(zip(result.curve.threshold, result.curve.whole_fp_per_scan))
    for uid in result.seriesuids:
        match = result.matches[uid]
        centers, diameters = annotations.get(uid, ((), ()))
        for center, diameter, hits, score in zip(
            centers, diameters, match.hits, match.nodule_scores
        ):
            rows.append(
                {
                    **_place(uid, center),
                    'diameter_mm': float(diameter),
                    'marks': int(hits),
                    'probability': float(score) if hits else '',
                    'fp_per_scan': float(cost[score]) if hits else '',
                }
            )
    return sorted(
        rows,
        key=lambda r: (
            r['probability'] if r['marks'] else -np.inf,
            -float(r['diameter_mm']),
        ),
    )


def false_positive_rows(
    result: FROCResult, marks: Findings, *, limit: int | None = None
) -> list[Row]:
    """One row a false positive, the highest score first.

    Args:
        result: What the marks did.
        marks: The marks that were scored.
        limit: Rows, None for all.
    """
    rows: list[Row] = []
    for uid in result.seriesuids:
        match = result.matches[uid]
        for k in np.flatnonzero(match.outcomes == MatchOutcome.FALSE):
            place = _place(uid, marks[uid][0][k])
            rows.append({**place, 'probability': float(match.scores[k])})
    rows.sort(key=lambda row: -float(row['probability']))
    return rows[:limit]


def _place(uid: str, center: np.ndarray) -> Row:
    x, y, z = (float(v) for v in center)
    return {'seriesuid': uid, 'coordX': x, 'coordY': y, 'coordZ': z}
