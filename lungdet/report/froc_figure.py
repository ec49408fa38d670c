"""The FROC curve in its usual form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lungdet.evaluation import EvaluationReport
from lungdet.evaluation.curve import read_interp
from lungdet.report.caveats import print_caveats
from lungdet.report.legend import legend_label

TICKS = {2.0**k: f'1/{2**-k}' if k < 0 else f'{2**k}' for k in range(-3, 4)}


def froc_figure(reports: Sequence[EvaluationReport]) -> Figure:
    """Curves over false positives per scan, log2 axis from 1/8 to 8.

    Intervals are a band behind the curve. Caveats of tested runs are printed
    below, such as that their weights were trained on these scans.

    Args:
        reports: One for each curve, of the same scans.
    """
    figure = Figure(figsize=(5.5, 4.2), layout='constrained')
    axes = figure.add_subplot()
    for report in reports:
        _draw_curve(axes, report)
    axes.set_xscale('log', base=2)
    axes.set_xticks(list(TICKS))
    axes.set_xticklabels(list(TICKS.values()))
    axes.set_xlim(0.125, 8)
    axes.set_ylim(0, 1)
    axes.set_xlabel('false positives per scan')
    axes.set_ylabel('sensitivity')
    counts = reports[0].result.counts
    axes.set_title(
        f'{counts["scans"]} scans, {counts["nodules"]} nodules', fontsize=10
    )
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right', fontsize=9)
    print_caveats(
        figure, dict.fromkeys(c for r in reports for c in r.run_caveats)
    )
    return figure


def _draw_curve(axes: Axes, report: EvaluationReport) -> None:
    """One curve, its band, and points at the rates."""
    result, band = report.result, report.bootstrap
    name = report.submission.name
    if result.cpm is None:
        label = legend_label(name, 'no CPM')
    else:
        label = legend_label(name, f'CPM {result.cpm:.3f}')
    grid = np.geomspace(0.125, 8, 400)
    (line,) = axes.plot(grid, read_interp(result.curve, grid), label=label)
    color = line.get_color()
    if band is not None:
        axes.fill_between(
            band.band_rates,
            band.band_lower,
            band.band_upper,
            color=color,
            alpha=0.18,
            linewidth=0,
        )
    if result.sensitivities is not None:
        axes.plot(
            result.rates,
            result.sensitivities,
            'o',
            ms=4,
            color=color,
            clip_on=False,
            zorder=3,
        )
