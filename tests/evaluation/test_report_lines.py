from __future__ import annotations

from dataclasses import replace

from lungdet.evaluation import evaluate_froc
from lungdet.evaluation.calibration import Calibration
from lungdet.evaluation.candidates import CandidateSummary
from lungdet.evaluation.detection_ap import AveragePrecision
from lungdet.evaluation.points import annotations_by_scan
from lungdet.evaluation.report_lines import (
    calibration_line,
    candidate_lines,
    count_lines,
    precision_lines,
    reference_line,
)
from tests.evaluation.toy_submission import MARKS, REFERENCE, marks


def test_rows_are_counted_on_the_listed_scans_and_in_all() -> None:
    assert reference_line(REFERENCE) == (
        'on the 3 listed scans: 2 of 3 nodules, 1 of 1 excluded findings'
    )


def test_every_mark_is_counted_once() -> None:
    submitted = MARKS | {'elsewhere': marks((0, 0.5))}
    result = evaluate_froc(
        annotations_by_scan(REFERENCE.annotations),
        annotations_by_scan(REFERENCE.excluded),
        submitted,
        REFERENCE.seriesuids,
    )

    text = ' '.join(count_lines(result, submitted))

    # of 4 marks one is unlisted, one hits, one is false, one is excluded
    assert '4 on 3 scans, 1 unmatched ids, 1 listed scans without' in text
    assert '1 true positives, 1 false positives, 1 false negatives' in text
    assert '3 candidates, 1 ignored on excluded findings, 0 ignored' in text


def test_what_cannot_be_computed_is_a_dash_and_not_zero() -> None:
    summary = CandidateSummary(5, 2, 1, 4, 2, 0.75)
    empty = replace(summary, nodules=0, reached=0, auc=None)

    assert 'sensitivity of 0.500; AUC 0.7500' in candidate_lines(summary)[1]
    assert 'sensitivity of -; AUC -' in candidate_lines(empty)[1]


def test_precision_without_a_nodule_has_no_line() -> None:
    some = AveragePrecision((0.1, 0.5), [0.75, 0.25], scans=3, nodules=2)

    (line,) = precision_lines(some)

    assert line.startswith('AP@0.1 0.750, mAP@0.1:0.5 0.500')
    assert precision_lines(replace(some, values=None)) == []


def test_calibration_counts_the_marks_of_all_bins() -> None:
    line = calibration_line(Calibration([0.1, 0.9], [0, 1], [3, 4], 0.1, 0.02))

    assert line == 'calibration: error 0.100, Brier score 0.020, 7 marks'
