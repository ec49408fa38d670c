"""From files to reports: what is read, scored and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis.score_submissions import (
    SubmissionInputs,
    score_submissions,
)
from lungdet.evaluation import EvaluationOptions

HEADER = 'seriesuid,coordX,coordY,coordZ,'
OPTIONS = EvaluationOptions(bootstrap=50)


@pytest.fixture
def inputs(tmp_path: Path) -> SubmissionInputs:
    """Two scans with a nodule each; one submission misses the second."""
    files = {
        'nodules': f'{HEADER}diameter_mm\na,0,0,0,10\nb,50,0,0,6\n',
        'excluded': f'{HEADER}diameter_mm\n',
        'scans': 'a\nb\n',
        'both': f'{HEADER}probability\na,0,0,0,.9\nb,50,0,0,.8\n',
        'one': f'{HEADER}probability\na,0,0,0,.9\nb,90,0,0,.8\n',
        'groups': 'seriesuid,vendor\na,GE\nb,Siemens\n',
    }
    for name, text in files.items():
        (tmp_path / f'{name}.csv').write_text(text)
    return SubmissionInputs(
        tmp_path / 'both.csv',
        [tmp_path / 'one.csv'],
        tmp_path / 'nodules.csv',
        tmp_path / 'excluded.csv',
        tmp_path / 'scans.csv',
        'vendor',
        tmp_path / 'groups.csv',
    )


def test_a_submission_is_compared_with_others(
    inputs: SubmissionInputs,
) -> None:
    scored = score_submissions(inputs, OPTIONS)

    best, other = scored.reports
    assert best.result.cpm == 1.0 and other.result.counts['tp'] == 1
    (difference,) = scored.differences
    assert difference is not None
    assert difference.cpm == pytest.approx(1.0 - (other.result.cpm or 0))
    assert {*best.strata} == {'GE', 'Siemens'}
    text = scored.text()
    assert text.startswith(best.text()) and other.text() in text
    assert text.index(other.text()) < text.index('both.csv minus one.csv')


def test_its_own_positions_may_be_the_candidates(
    inputs: SubmissionInputs,
) -> None:
    alone = SubmissionInputs(
        inputs.submission,
        annotations=inputs.annotations,
        excluded=inputs.excluded,
        seriesuids=inputs.seriesuids,
        marks_are_candidates=True,
    )

    scored = score_submissions(alone, OPTIONS)

    assert scored.reports[0].candidates is not None
    assert scored.reports[0].candidates.reached == 2
    assert scored.differences == []
