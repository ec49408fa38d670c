"""Pictures of restored crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

COLUMNS = ('target', 'corrupted', 'restored')
TITLES = ('input = target', 'corrupted', 'restored', '|target - restored|')


def restoration_sheet(volumes: Sequence[Mapping[str, np.ndarray]]) -> Figure:
    """One row a crop: middle slices of target, corrupted and restored, and
    the absolute difference of target and restored.

    Args:
        volumes: Each has ``target``, ``corrupted`` and ``restored``
            (D, H, W) in [0, 1].
    """
    figure = Figure(
        figsize=(8, 2.1 * max(len(volumes), 1)), layout='constrained'
    )
    axes = figure.subplots(max(len(volumes), 1), 4, squeeze=False)
    for row, volume in zip(axes, volumes):
        slices = [volume[c][volume[c].shape[0] // 2] for c in COLUMNS]
        difference = np.abs(slices[0] - slices[2])
        for place, plane in zip(row, [*slices, difference]):
            place.imshow(
                plane, cmap='gray', vmin=0, vmax=1, interpolation='nearest'
            )
            place.set_xticks([])
            place.set_yticks([])
        row[-1].set_ylabel(f'mean {difference.mean():.3f}', fontsize=8)
        row[-1].yaxis.set_label_position('right')
    for place, name in zip(axes[0], TITLES):
        place.set_title(name, fontsize=9)
    return figure
