from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.evaluation import (
    EvaluationOptions,
    EvaluationReport,
    Grouping,
    Submission,
    compare_reports,
    compared_dict,
    difference_text,
    evaluate_submission,
)
from lungdet.structures import Annotation, ReferenceSet
from tests.schemas import assert_valid

OPTIONS = EvaluationOptions(bootstrap=30)
NODULE, EXCLUSION = Annotation((0, 0, 0), 8.0), Annotation((50, 0, 0), None)
REFERENCE = ReferenceSet(
    'toy',
    {'a': [NODULE], 'b': [NODULE], 'unlisted': [NODULE]},
    {'b': [EXCLUSION]},
    ('a', 'b', 'c'),
)


def marks(*rows: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Marks at x, in mm, and their scores."""
    return np.array([(x, 0, 0) for x, _ in rows]), np.array(
        [s for _, s in rows]
    )


MARKS = {'a': marks((1, 0.9), (20, 0.4)), 'b': marks((51, 0.8))}
SUBMISSION = Submission('marks.csv', MARKS, 64 * '0')


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


def test_reports_are_compared_in_pairs() -> None:
    better = MARKS | {'b': marks((1, 0.95), (51, 0.8))}
    reports = [
        evaluate_submission(s, REFERENCE, OPTIONS)
        for s in (SUBMISSION, Submission('better.csv', better))
    ]

    differences = compare_reports(reports[0], reports[1:], OPTIONS)

    (difference,) = differences
    assert difference.cpm == -0.5
    assert_valid('froc', compared_dict(reports, differences))
    text = difference_text(*reports, difference)
    assert text.startswith('marks.csv minus better.csv, ')
    assert '-0.500' in text
    nothing = difference_text(*reports, None)
    assert nothing == 'marks.csv minus better.csv: nothing to resample'


def test_metrics_have_a_name_each() -> None:
    report: EvaluationReport = evaluate_submission(
        SUBMISSION, REFERENCE, OPTIONS
    )

    metrics = report.metrics()

    assert metrics['froc/cpm'] == 0.5 and metrics['froc/sens@8'] == 0.5
    assert len(metrics) == 8


def test_an_unknown_read_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="'nearst' is not known"):
        evaluate_submission(
            SUBMISSION, REFERENCE, EvaluationOptions(read_out='nearst')
        )
