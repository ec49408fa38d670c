from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.evaluation import (
    EvaluationOptions,
    EvaluationReport,
    Grouping,
    Submission,
    compare_reports,
    diameter_labels,
    evaluate_submission,
)
from lungdet.io.case_store import CaseStore
from lungdet.report.html import evaluation_report as module
from lungdet.report.html.evaluation_report import evaluation_page
from lungdet.structures import Annotation, ReferenceSet
from tests.engine.conftest import write_tiny_store
from tests.report.html.parsing import ParsedPage
from tests.report.html.scene import HOSTILE

OPTIONS = EvaluationOptions(bootstrap=50)
NODULES = {
    'a': [Annotation((0.0, 0.0, 0.0), 8.0), Annotation((50.0, 0, 0), 4.5)],
    'b': [Annotation((0.0, 0.0, 0.0), 12.0)],
}
REFERENCE = ReferenceSet('made up', NODULES, {}, ('a', 'b'))


def report(name: str, *, score: float = 0.8) -> EvaluationReport:
    """A hit, a miss, a hit behind a false positive."""
    marks = {
        'a': (np.array([[1.0, 0, 0]]), np.array([score])),
        'b': (np.array([[90.0, 0, 0], [2.0, 0, 0]]), np.array([0.7, 0.3])),
    }
    diameters = {
        uid: np.array([n.diameter_mm for n in row])
        for uid, row in NODULES.items()
    }
    grouping = Grouping('diameter', nodule_labels=diameter_labels(diameters))
    return evaluate_submission(
        Submission(name, marks), REFERENCE, OPTIONS, grouping=grouping
    )


def test_one_run_has_curve_table_strata_and_errors() -> None:
    one = report('first')

    page = ParsedPage(evaluation_page([one]))

    assert not page.open
    text = ' '.join(page.texts)
    # at 1/8 to 1/4 one of three, from 1/2 on two of three
    assert one.result.sensitivities == pytest.approx([1 / 3] * 2 + [2 / 3] * 5)
    assert text.count('0.333') >= 2 and text.count('0.667') >= 5
    low, high = one.bootstrap.cpm  # type: ignore[union-attr]
    assert f'{low:.3f}–{high:.3f}' in text
    assert 'first by diameter' in text
    for label in one.strata:
        assert label in page.texts
    images = [image['src'][:18] for image in page.all('img')]
    assert images == ['data:image/svg+xml'] * 2
    # the miss first, then what is detected last
    assert text.index('no mark') < text.index('score 0.300')
    assert '4.5 mm no mark (50.0, 0.0, 0.0) mm a' in text
    assert 'detected at 0.50 false positives per scan' in text
    assert 'score 0.700 (90.0, 0.0, 0.0) mm b' in text
    assert 'prepared cases were not given' in text


def test_runs_are_overlaid_and_compared() -> None:
    first, other = report('first'), report('other', score=0.5)

    differences = compare_reports(first, [other], OPTIONS)
    page = ParsedPage(evaluation_page([first, other], differences))

    text = ' '.join(page.texts)
    assert 'Paired differences: first minus the others' in text
    assert 'minus other' in page.texts
    assert differences[0] is not None
    assert f'{differences[0].cpm:+.3f}' in text
    for name in ('first', 'other'):
        assert f'{name}: nodules detected last, or not at all' in page.texts


def test_names_and_caveats_are_shown_as_text() -> None:
    hostile = report(HOSTILE)
    caveat = replace(hostile.caveats[0], text=HOSTILE)
    hostile = replace(hostile, caveats=(caveat,), grouped_by=HOSTILE)

    page = ParsedPage(evaluation_page([hostile]))

    assert not page.open and not page.scripts
    assert not [a for _, a in page.elements if 'onerror' in a]


def test_errors_are_drawn_from_the_prepared_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'MAX_ERRORS', 2)
    store = CaseStore(write_tiny_store(tmp_path / 'cases'))
    nodules = {
        uid: [Annotation(n.center_mm, n.diameter_mm) for n in record.nodules]
        for uid, record in store.records.items()
    }
    reference = ReferenceSet('tiny', nodules, {}, tuple(store.records))
    uid = next(iter(nodules))
    x, y, z = nodules[uid][0].center_mm
    marks = {uid: (np.array([[x + 20, y, z]]), np.array([0.9]))}

    page = ParsedPage(
        evaluation_page(
            [
                evaluate_submission(
                    Submission('run', marks), reference, OPTIONS
                )
            ],
            store=store,
        )
    )

    planes = page.all('figure', 'picture')
    assert len(planes) == 3 * (2 + 1)
    assert len(page.all('rect', 'missed')) == 6
    assert len(page.all('path', 'false')) == 3
