"""CPM of several systems, every seed and the interval of their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lungdet.report.caveats import print_caveats


def ablation_figure(
    cpms: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float] | None],
    *,
    caveats: Sequence[str] = (),
) -> Figure:
    """One line per system: its seeds as dots, their mean and 95 % interval.

    Args:
        cpms: Name -> CPM of each seed.
        intervals: Name -> bounds of the mean, or None.
        caveats: Printed below.
    """
    figure = Figure(figsize=(6.4, 1.2 + 0.5 * len(cpms)), layout='constrained')
    axes = figure.subplots()
    for height, (name, values) in enumerate(cpms.items()):
        bounds = intervals.get(name)
        if bounds is not None:
            axes.plot(bounds, [height, height], color='tab:blue', lw=2)
        axes.plot(values, [height] * len(values), 'o', color='0.6', ms=5)
        axes.plot(np.mean(values), height, 'D', color='tab:blue', ms=7)
    axes.set_yticks(range(len(cpms)), list(cpms))
    axes.set_ylim(len(cpms) - 0.5, -0.5)  # the first system at the top
    axes.set_xlabel('CPM: seeds (dots), mean and 95 % interval over scans')
    axes.grid(axis='x', alpha=0.3)
    print_caveats(figure, caveats)
    return figure
