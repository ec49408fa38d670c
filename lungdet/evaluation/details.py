"""A result scan by scan, nodule by nodule, and its false positives."""

from __future__ import annotations

import numpy as np

from lungdet.evaluation.froc import FROCResult
from lungdet.evaluation.matching import MatchOutcome
from lungdet.evaluation.points import PointsByScan

# one line of a csv: column -> value
Line = dict[str, str | int | float]

POINT_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ')
NODULE_COLUMNS = (
    *POINT_COLUMNS,
    *('diameter_mm', 'marks', 'probability', 'fp_per_scan'),
)
FALSE_POSITIVE_COLUMNS = (*POINT_COLUMNS, 'probability')


def scan_lines(result: FROCResult) -> list[Line]:
    """One line per listed scan.

    Columns that end in ``_at_1`` count the marks that are kept at one false
    positive per scan.
    """
    threshold = result.threshold_at(1.0)
    lowest = np.inf if threshold is None else threshold
    lines: list[Line] = []
    for uid in result.seriesuids:
        match = result.matches[uid]
        lines.append(
            {
                'seriesuid': uid,
                'nodules': match.nodules,
                'detected': len(match.tp_scores),
                'detected_at_1': int((match.tp_scores >= lowest).sum()),
                'marks': len(match.scores),
                'marks_cut': int((match.outcomes == MatchOutcome.CUT).sum()),
                'false_positives': len(match.fp_scores),
                'false_positives_at_1': int((match.fp_scores >= lowest).sum()),
                'ignored_excluded': match.ignored_excluded,
                'ignored_double': match.ignored_double,
            }
        )
    return lines


def nodule_lines(result: FROCResult, annotations: PointsByScan) -> list[Line]:
    """One line per nodule, the hardest first.

    ``fp_per_scan`` is the rate at which the nodule is detected. It and
    ``probability`` are empty for a nodule that no mark hits; those come
    first, the largest first.

    Args:
        result: The matched marks.
        annotations: The nodules it was scored against.

    Examples:
        >>> from lungdet.evaluation import evaluate_froc
        >>> nodules = {'a': (np.array([[0.0, 0, 0]]), np.array([8.0]))}
        >>> marks = {'a': (np.array([[1.0, 0, 0]]), np.array([0.9]))}
        >>> result = evaluate_froc(nodules, {}, marks, ['a'])
        >>> (line,) = nodule_lines(result, nodules)
        >>> line['diameter_mm'], line['probability'], line['fp_per_scan']
        (8.0, 0.9, 0.0)
    """
    lines: list[Line] = []
    rate_at = dict(zip(result.curve.threshold, result.curve.whole_fp_per_scan))
    for uid in result.seriesuids:
        match = result.matches[uid]
        centers, diameters = annotations.get(uid, ((), ()))
        for center, diameter, hits, score in zip(
            centers, diameters, match.hits, match.nodule_scores
        ):
            lines.append(
                {
                    **_position(uid, center),
                    'diameter_mm': float(diameter),
                    'marks': int(hits),
                    'probability': float(score) if hits else '',
                    'fp_per_scan': float(rate_at[score]) if hits else '',
                }
            )
    return sorted(
        lines,
        key=lambda line: (
            line['probability'] if line['marks'] else -np.inf,
            -float(line['diameter_mm']),
        ),
    )


def false_positive_lines(
    result: FROCResult, marks: PointsByScan, *, limit: int | None = None
) -> list[Line]:
    """One line per false positive, the highest score first.

    Args:
        result: The matched marks.
        marks: The marks that were scored.
        limit: How many lines at most, None for all.
    """
    lines: list[Line] = []
    for uid in result.seriesuids:
        match = result.matches[uid]
        for k in np.flatnonzero(match.outcomes == MatchOutcome.FALSE):
            position = _position(uid, marks[uid][0][k])
            score = float(match.scores[k])
            lines.append({**position, 'probability': score})
    lines.sort(key=lambda line: -float(line['probability']))
    return lines[:limit]


def _position(uid: str, center: np.ndarray) -> Line:
    return dict(zip(POINT_COLUMNS, (uid, *map(float, center))))
