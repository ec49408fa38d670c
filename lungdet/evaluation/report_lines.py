"""The parts of a report's text."""

from __future__ import annotations

from lungdet.evaluation.calibration import Calibration
from lungdet.evaluation.candidates import CandidateSummary
from lungdet.evaluation.detection_ap import AveragePrecision
from lungdet.evaluation.froc import FROCResult
from lungdet.evaluation.points import PointsByScan
from lungdet.structures import AnnotationTable, ReferenceSet


def reference_line(reference: ReferenceSet) -> str:
    """How many rows of the reference tables are on the listed scans.

    Examples:
        >>> from lungdet.structures import Annotation
        >>> rows = [Annotation((0, 0, 0), 8.0)]
        >>> nodules = {'a': rows, 'b': rows}
        >>> reference_line(ReferenceSet('toy', nodules, {}, ('a',)))
        'on the 1 listed scans: 1 of 2 nodules, 0 of 0 excluded findings'
    """
    listed = set(reference.seriesuids)
    tables = [
        f'{_num_rows(table, listed)} of {_num_rows(table)} {name}'
        for table, name in (
            (reference.annotations, 'nodules'),
            (reference.excluded, 'excluded findings'),
        )
    ]
    return f'on the {len(listed)} listed scans: {", ".join(tables)}'


def count_lines(result: FROCResult, marks: PointsByScan) -> list[str]:
    """Numbers of marks and their match outcomes."""
    counts = result.counts
    num_marks = sum(len(scores) for _, scores in marks.values())
    unmatched = len(set(marks) - set(result.seriesuids))
    return [
        f'marks: {num_marks} on {len(marks)} scans, {unmatched} unmatched '
        f'ids, {result.scans_without_marks} listed scans without marks, '
        f'{result.marks_cut} dropped by the cap',
        f'counts: {counts["tp"]} true positives, {counts["fp"]} false '
        f'positives, {counts["fn"]} false negatives,',
        f'  {counts["candidates"]} candidates, '
        f'{counts["ignored_excluded"]} ignored on excluded findings, '
        f'{counts["ignored_double"]} ignored as extra hits',
    ]


def _num_rows(table: AnnotationTable, listed: set[str] | None = None) -> int:
    return sum(
        len(rows)
        for uid, rows in table.items()
        if listed is None or uid in listed
    )


def candidate_lines(summary: CandidateSummary) -> list[str]:
    """Upper bound of given candidates, and how well they are ranked."""
    ceiling = '-' if summary.ceiling is None else f'{summary.ceiling:.3f}'
    auc = '-' if summary.auc is None else f'{summary.auc:.4f}'
    return [
        f'candidates: {summary.candidates} before the cap, '
        f'{summary.on_nodules} on nodules, {summary.on_excluded} on excluded '
        'findings;',
        f'  {summary.reached} of {summary.nodules} nodules have one, so no '
        f'scores exceed a sensitivity of {ceiling}; AUC {auc}',
    ]


def calibration_line(calibration: Calibration) -> str:
    """Whether scores are probabilities."""
    return (
        f'calibration: error {calibration.error:.3f}, Brier score '
        f'{calibration.brier:.3f}, {sum(calibration.numbers)} marks'
    )


def precision_lines(precision: AveragePrecision) -> list[str]:
    """Average precision of the boxes; no line without a nodule."""
    if precision.values is None:
        return []
    return [
        f'AP@0.1 {precision.values[0]:.3f}, mAP@0.1:0.5 '
        f'{precision.mean:.3f} (boxes, by IoU)'
    ]
