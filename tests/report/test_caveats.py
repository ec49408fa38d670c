from __future__ import annotations

from matplotlib.figure import Figure

from lungdet.report.caveats import print_caveats


def test_caveats_stand_below_the_figure_within_its_width() -> None:
    figure = Figure(figsize=(4, 3), layout='constrained')
    figure.add_subplot()
    long = 'these scans were seen in training, so the figure is too good ' * 3

    print_caveats(figure, [long, 'few scans'])
    figure.draw_without_rendering()

    lines = figure.get_supxlabel().splitlines()
    assert ' '.join(lines) == f'{long.strip()} few scans'
    assert lines[-1] == 'few scans'
    box = next(
        text.get_window_extent()
        for text in figure.texts
        if 'few scans' in text.get_text()
    )
    assert 0 <= box.x0 and box.x1 <= figure.bbox.width
    (axes,) = figure.axes
    assert box.y1 <= axes.get_tightbbox().y0


def test_without_caveats_the_figure_stays_as_it_is() -> None:
    figure = Figure()

    print_caveats(figure, [])

    assert not figure.texts
