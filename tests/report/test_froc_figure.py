from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lungdet.evaluation import (
    Caveat,
    EvaluationOptions,
    EvaluationReport,
    Submission,
    evaluate_submission,
)
from lungdet.evaluation.report import TESTED_RUN
from lungdet.report.froc_figure import froc_figure
from lungdet.structures import Annotation, ReferenceSet


def make_report(rng: np.random.Generator) -> EvaluationReport:
    """Nine scans of one nodule, each with a hit and a false positive."""
    uids = tuple(str(k) for k in range(9))
    nodule = Annotation((0.0, 0.0, 0.0), 8.0)
    centers = np.array([[0.0, 0, 0], [50, 0, 0]])
    return evaluate_submission(
        Submission('run', {uid: (centers, rng.random(2)) for uid in uids}),
        ReferenceSet('toy', {uid: [nodule] for uid in uids}, {}, uids),
        EvaluationOptions(bootstrap=50),
    )


def test_axis_curve_and_band_show_the_result(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    report = make_report(rng)

    figure = froc_figure([report])

    (axes,) = figure.axes
    assert axes.get_xscale() == 'log' and axes.get_xlim() == (0.125, 8)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ['1/8', '1/4', '1/2', '1', '2', '4', '8']
    points = axes.lines[1].get_xydata()
    np.testing.assert_array_equal(points[:, 1], report.result.sensitivities)
    (band,) = axes.collections
    low, high = band.get_paths()[0].vertices[:, 1][[1, -2]]
    bounds = report.bootstrap
    assert {low, high} == {bounds.band_lower[0], bounds.band_upper[0]}
    assert axes.get_title() == '9 scans, 9 nodules'
    label = f'run, CPM {report.result.cpm:.3f}'
    assert axes.get_legend().texts[0].get_text() == label
    figure.savefig(tmp_path / 'froc.svg')
    assert (tmp_path / 'froc.svg').stat().st_size > 5000


def test_what_a_tested_run_says_of_its_scans_stands_below(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    of_run = Caveat(TESTED_RUN, 9, 'trained on these scans')
    other = Caveat('step-at-rate', 1, 'not in the figure')
    report = replace(make_report(rng), caveats=(other, of_run))

    froc_figure([report, report]).savefig(tmp_path / 'froc.svg')

    text = (tmp_path / 'froc.svg').read_text()
    assert text.count('trained on these scans') == 1
    assert 'not in the figure' not in text
