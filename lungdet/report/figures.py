"""Pictures of nodules: three planes with box and outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lungdet.hounsfield import LUNG_WINDOW
from lungdet.report.pictures import PLANES, Picture


def picture_sheet(pictures: Sequence[Picture], title: str = '') -> Figure:
    """One row per picture: axial, coronal and sagittal plane.

    Radiological orientation: the patient's right is on the left, the head is
    up; sagittal planes show the front on the left.

    Args:
        pictures: Pictures of any scans.
        title: Title of the sheet.
    """
    num_rows = max(len(pictures), 1)
    figure = Figure(figsize=(7.5, 2.6 * num_rows), layout='constrained')
    rows = figure.subplots(num_rows, 3, squeeze=False)
    for row, picture in zip(rows, pictures):
        (center,) = picture.geometry.to_index(np.array([picture.center_mm]))
        for axes, (name, axis) in zip(row, PLANES):
            _draw_plane(axes, picture, center, axis)
            axes.set_title(name, fontsize=8)
        row[0].set_ylabel(picture.caption, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def _draw_plane(
    axes: Axes, picture: Picture, center: np.ndarray, axis: int
) -> None:
    """The plane through ``center`` (z, y, x index) across an array axis."""
    rows, columns = (a for a in range(3) if a != axis)
    spacing = picture.geometry.spacing
    axes.imshow(
        _plane(picture.array, center, axis),
        cmap='gray',
        vmin=LUNG_WINDOW.low,
        vmax=LUNG_WINDOW.high,
        aspect=spacing[rows] / spacing[columns],
        interpolation='nearest',
    )
    if picture.box is None:
        x, y = center[columns], center[rows]
        axes.plot([x], [y], '+', color='yellow', ms=7, mew=0.8)
    else:
        _draw_box(axes, picture.box, rows, columns)
    if picture.outline is not None:
        outline = _plane(picture.outline, center, axis)
        if outline.any():
            axes.contour(outline, levels=[0.5], colors='cyan', linewidths=0.8)
    half_mm = picture.half_mm
    dy, dx = half_mm / spacing[rows], half_mm / spacing[columns]
    axes.set_xlim(center[columns] - dx, center[columns] + dx)
    low, high = center[rows] - dy, center[rows] + dy
    # rows run to the back in axial planes, to the head in others
    axes.set_ylim((high, low) if axis == 0 else (low, high))
    axes.set_xticks([])
    axes.set_yticks([])


def _plane(array: np.ndarray, center: np.ndarray, axis: int) -> np.ndarray:
    """Plane of the voxel nearest to ``center``."""
    k = int(np.clip(np.rint(center[axis]), 0, array.shape[axis] - 1))
    return array.take(k, axis)


def _draw_box(axes: Axes, box: np.ndarray, rows: int, columns: int) -> None:
    # a pixel is drawn around its index, an edge box starts at its corner
    y1, y2 = box[[rows, rows + 3]] - 0.5
    x1, x2 = box[[columns, columns + 3]] - 0.5
    axes.plot(
        [x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color='yellow', lw=0.8
    )
