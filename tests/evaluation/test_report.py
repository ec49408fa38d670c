from __future__ import annotations

from dataclasses import replace

import numpy as np

from lungdet.evaluation import (
    EvaluationReport,
    Grouping,
    evaluate_submission,
)
from tests.evaluation.toy_submission import (
    OPTIONS,
    REFERENCE,
    SUBMISSION,
)
from tests.schemas import assert_valid


def test_text_tells_origin_counts_and_curve() -> None:
    text = evaluate_submission(SUBMISSION, REFERENCE, OPTIONS).text()

    assert text.startswith(f'submission: marks.csv\nsha256: {64 * "0"}\n')
    assert 'on the 3 listed scans: 2 of 3 nodules, 1 of 1 excluded' in text
    assert 'marks: 3 on 2 scans, 0 unmatched ids, 1 listed scans' in text
    assert '1 true positives, 1 false positives, 1 false negatives' in text
    assert '1 ignored on excluded findings' in text
    assert '3 scans of 3 listed, 2 nodules' in text
    # the hit has .9, the false positive .4: (.01 + .16) / 2
    assert 'Brier score 0.085, 2 marks' in text


def test_marks_of_no_file_have_no_digest() -> None:
    text = evaluate_submission(
        replace(SUBMISSION, sha256=None), REFERENCE, OPTIONS
    ).text()

    assert text.startswith('reference: toy\n')


def test_every_part_follows_the_schema() -> None:
    report = evaluate_submission(
        SUBMISSION,
        REFERENCE,
        OPTIONS,
        grouping=Grouping('site', scan_labels={'a': 'x', 'b': 'y'}),
        candidates={'a': np.array([[1.0, 0, 0]])},
    )

    assert_valid('froc', report.to_dict())
    assert set(report.strata) == {'x', 'y', 'unknown'}
    assert report.candidates.reached == 1
    assert report.caveats[-1].name == 'marks-beside-candidates'
    assert 'by site:' in report.text()


def test_metrics_have_a_name_each() -> None:
    report: EvaluationReport = evaluate_submission(
        SUBMISSION, REFERENCE, OPTIONS
    )

    metrics = report.metrics()

    assert metrics['froc/cpm'] == 0.5 and metrics['froc/sens@8'] == 0.5
    assert len(metrics) == 8
