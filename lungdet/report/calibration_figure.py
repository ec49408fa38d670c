"""Score against the share of marks that lie on a nodule."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from lungdet.evaluation import Calibration


def calibration_figure(results: Mapping[str, Calibration]) -> Figure:
    """One curve a system; the number of marks stands at each point.

    Args:
        results: Label of the curve -> its bins.
    """
    figure = Figure(figsize=(4.6, 4.4), layout='constrained')
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], '--', color='grey', lw=0.8)
    for name, found in results.items():
        axes.plot(
            found.mean_scores,
            found.hit_shares,
            'o-',
            ms=4,
            label=f'{name}, error {found.error:.3f}',
        )
        for x, y, number in zip(
            found.mean_scores, found.hit_shares, found.numbers
        ):
            axes.annotate(
                str(number),
                (x, y),
                textcoords='offset points',
                xytext=(0, 6),
                ha='center',
                fontsize=6,
            )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel('score')
    axes.set_ylabel('share of marks on a nodule')
    axes.set_aspect('equal')
    axes.grid(alpha=0.3)
    axes.legend(loc='upper left', fontsize=9)
    return figure
