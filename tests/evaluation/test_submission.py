from __future__ import annotations

import pytest

from lungdet.errors import ConfigError
from lungdet.evaluation import (
    EvaluationOptions,
    Submission,
    compare_reports,
    compared_dict,
    difference_text,
    evaluate_submission,
)
from tests.evaluation.toy_submission import (
    MARKS,
    OPTIONS,
    REFERENCE,
    SUBMISSION,
    marks,
)
from tests.schemas import assert_valid


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


def test_an_unknown_read_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="'nearst' is not known"):
        evaluate_submission(
            SUBMISSION, REFERENCE, EvaluationOptions(read_out='nearst')
        )
