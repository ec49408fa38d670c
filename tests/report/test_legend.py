from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from lungdet.evaluation import Calibration
from lungdet.report.calibration_figure import calibration_figure
from lungdet.report.froc_figure import froc_figure
from lungdet.report.legend import MAX_CHARACTERS, legend_label
from tests.report.test_froc_figure import make_report

LONG = 'nodulenet_quartet_attention_genesis_seed_0_fold_of_subset_9'


def froc(name: str) -> Figure:
    report = make_report(np.random.default_rng(0))
    named = replace(report.submission, name=name)
    return froc_figure([replace(report, submission=named)] * 3)


def calibration(name: str) -> Figure:
    one = Calibration([0.2, 0.9], [0.1, 0.95], [40, 7], 0.05, 0.1)
    return calibration_figure({f'{name}{k}': one for k in range(3)})


@pytest.mark.parametrize('make', [froc, calibration])
def test_a_long_name_leaves_the_axes_as_they_are(make) -> None:
    short, long = make('run'), make(LONG)
    for figure in (short, long):
        figure.draw_without_rendering()
    boxes = [figure.axes[0].get_position().bounds for figure in (short, long)]

    np.testing.assert_allclose(*boxes, atol=0.01)
    legend = long.axes[0].get_legend().get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= long.bbox.x1


@pytest.mark.parametrize('length', range(1, 3 * MAX_CHARACTERS))
def test_a_value_stays_whole(length: int) -> None:
    lines = legend_label('x' * length, 'CPM 1.000').split('\n')

    assert lines[-1].endswith('CPM 1.000')
    assert max(map(len, lines)) <= MAX_CHARACTERS
    assert ''.join(lines).count('x') == length
