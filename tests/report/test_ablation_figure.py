from __future__ import annotations

import numpy as np

from lungdet.report.ablation_figure import ablation_figure


def test_seeds_mean_and_interval_of_each_system() -> None:
    cpms = {'BASE': [0.6, 0.8], 'QAM': [0.7, 0.7]}

    figure = ablation_figure(
        cpms, {'BASE': (0.5, 0.9), 'QAM': None}, caveats=['seen before']
    )

    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ['BASE', 'QAM']
    assert axes.get_ylim() == (1.5, -0.5)  # the first one on top
    lines = [np.ravel(line.get_xdata()).tolist() for line in axes.lines]
    np.testing.assert_allclose(lines[0], (0.5, 0.9))
    np.testing.assert_allclose(lines[1], cpms['BASE'])
    np.testing.assert_allclose(lines[2], [0.7])
    assert len(lines) == 5  # no interval of QAM
    texts = [text.get_text() for text in figure.findobj(type(axes.title))]
    assert any('seen before' in text for text in texts)
