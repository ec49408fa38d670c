from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.evaluation import bootstrap_froc, evaluate_froc
from lungdet.report.froc_figure import froc_figure


def test_axis_curve_and_band_show_the_result(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    uids = [str(k) for k in range(9)]
    nodules = {u: (np.zeros((1, 3)), np.array([8.0])) for u in uids}
    marks = {
        u: (np.array([[0.0, 0, 0], [50, 0, 0]]), rng.random(2)) for u in uids
    }
    result = evaluate_froc(nodules, {}, marks, uids)
    interval = bootstrap_froc(result, resamples=50)

    figure = froc_figure({'run': result}, {'run': interval})

    (axes,) = figure.axes
    assert axes.get_xscale() == 'log' and axes.get_xlim() == (0.125, 8)
    points = axes.lines[1].get_xydata()
    np.testing.assert_array_equal(points[:, 1], result.sensitivities)
    (band,) = axes.collections
    low, high = band.get_paths()[0].vertices[:, 1][[1, -2]]
    assert {low, high} == {interval.band_lower[0], interval.band_upper[0]}
    assert axes.get_title() == '9 scans, 9 nodules'
    figure.savefig(tmp_path / 'froc.svg')
    assert (tmp_path / 'froc.svg').stat().st_size > 5000
