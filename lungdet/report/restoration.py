"""Pictures of restored crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

COLUMNS = ('target', 'corrupted', 'restored')
TITLES = ('input = target', 'corrupted', 'restored', '|target - restored|')


def restoration_sheet(crops: Sequence[Mapping[str, np.ndarray]]) -> Figure:
    """One row per crop: middle slices of target, corrupted and restored, and
    the absolute difference of target and restored.

    Args:
        crops: Each has ``target``, ``corrupted`` and ``restored``
            (D, H, W), normalized intensities in [0, 1].
    """
    num_rows = max(len(crops), 1)
    figure = Figure(figsize=(8, 2.1 * num_rows), layout='constrained')
    grid = figure.subplots(num_rows, len(TITLES), squeeze=False)
    for row, crop in zip(grid, crops):
        planes = [crop[name][crop[name].shape[0] // 2] for name in COLUMNS]
        difference = np.abs(planes[0] - planes[2])
        for axes, plane in zip(row, [*planes, difference]):
            axes.imshow(
                plane, cmap='gray', vmin=0, vmax=1, interpolation='nearest'
            )
            axes.set_xticks([])
            axes.set_yticks([])
        row[-1].set_ylabel(f'mean {difference.mean():.3f}', fontsize=8)
        row[-1].yaxis.set_label_position('right')
    for axes, title in zip(grid[0], TITLES):
        axes.set_title(title, fontsize=9)
    return figure
