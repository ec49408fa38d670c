"""The FROC curve as people show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lungdet.evaluation import Bootstrap, FROCResult
from lungdet.evaluation.curve import read_interp
from lungdet.report.caveats import print_caveats


def froc_figure(
    results: Mapping[str, FROCResult],
    bootstraps: Mapping[str, Bootstrap | None] | None = None,
    *,
    caveats: Sequence[str] = (),
) -> Figure:
    """Curves over false positives per scan, log2 axis from 1/8 to 8.

    Args:
        results: Label of the curve -> result.
        bootstraps: Label -> intervals, drawn as a band behind the curve.
        caveats: What a reader must know, printed below.
    """
    figure = Figure(figsize=(5.5, 4.2), layout='constrained')
    axes = figure.add_subplot()
    grid = np.geomspace(0.125, 8, 400)
    for name, result in results.items():
        label = name if result.cpm is None else f'{name}, CPM {result.cpm:.3f}'
        curve = read_interp(result.curve, grid)
        axes.plot(grid, curve, label=label)
        band = (bootstraps or {}).get(name)
        if band is not None:
            axes.fill_between(
                band.band_rates,
                band.band_lower,
                band.band_upper,
                color=axes.lines[-1].get_color(),
                alpha=0.18,
                linewidth=0,
            )
        if result.sensitivities is not None:
            axes.plot(
                result.rates,
                result.sensitivities,
                'o',
                ms=4,
                color=axes.lines[-1].get_color(),
                clip_on=False,
                zorder=3,
            )
    axes.set_xscale('log', base=2)
    axes.set_xticks([2.0**k for k in range(-3, 4)])
    axes.set_xticklabels(['1/8', '1/4', '1/2', '1', '2', '4', '8'])
    axes.set_xlim(0.125, 8)
    axes.set_ylim(0, 1)
    axes.set_xlabel('false positives per scan')
    axes.set_ylabel('sensitivity')
    counts = next(iter(results.values())).counts
    axes.set_title(
        f'{counts["scans"]} scans, {counts["nodules"]} nodules', fontsize=10
    )
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right', fontsize=9)
    print_caveats(figure, caveats)
    return figure
