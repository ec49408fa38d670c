from __future__ import annotations

from lungdet.evaluation import Calibration
from lungdet.report.calibration_figure import calibration_figure


def test_points_are_the_bins_and_carry_their_numbers() -> None:
    calibration = Calibration([0.2, 0.9], [0.1, 0.95], [40, 7], 0.05, 0.1)

    (axes,) = calibration_figure({'run': calibration}).axes

    assert axes.lines[1].get_xydata().tolist() == [[0.2, 0.1], [0.9, 0.95]]
    assert [text.get_text() for text in axes.texts] == ['40', '7']
    assert 'error 0.050' in axes.get_legend().texts[0].get_text()
