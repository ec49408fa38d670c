"""Figure of scores against the fraction of marks on a nodule."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from lungdet.evaluation import Calibration
from lungdet.report.legend import legend_label


def calibration_figure(results: Mapping[str, Calibration]) -> Figure:
    """One curve per system; each point shows its number of marks.

    Args:
        results: Label of the curve -> its bins.
    """
    figure = Figure(figsize=(4.6, 4.4), layout='constrained')
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], '--', color='grey', lw=0.8)
    for name, calibration in results.items():
        points = list(zip(calibration.mean_scores, calibration.hit_fractions))
        axes.plot(
            *zip(*points),
            'o-',
            ms=4,
            label=legend_label(name, f'error {calibration.error:.3f}'),
        )
        for point, number in zip(points, calibration.numbers):
            axes.annotate(
                str(number),
                point,
                textcoords='offset points',
                xytext=(0, 6),
                ha='center',
                fontsize=6,
            )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel('score')
    axes.set_ylabel('fraction of marks on a nodule')
    axes.set_aspect('equal')
    axes.grid(alpha=0.3)
    axes.legend(loc='upper left', fontsize=9)
    return figure
