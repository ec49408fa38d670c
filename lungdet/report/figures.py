"""Pictures of nodules: three planes with box and outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lungdet.geometry import Geometry, box_slices
from lungdet.hounsfield import LUNG_WINDOW
from lungdet.structures import CaseNodule, Detection

HALF_MM = 32.0  # half side of a picture, more where a box needs it
BOX_FRACTION = 0.8  # of a picture's side, at most
PLANES = (('axial', 0), ('coronal', 1), ('sagittal', 2))


@dataclass(frozen=True)
class Picture:
    """A point of a scan, with voxels around it.

    Attributes:
        array: HU (z, y, x) on ``geometry``, axes along LPS.
        geometry: Grid of ``array``.
        center_mm: World point (x, y, z) of the three planes.
        caption: Printed next to the row of planes.
        box: Edge box (6,) on ``geometry`` to draw; None for a cross at the
            centre.
        outline: Mask (z, y, x) on ``geometry`` to outline, None for none.
    """

    array: np.ndarray
    geometry: Geometry
    center_mm: tuple[float, float, float]
    caption: str
    box: np.ndarray | None = None
    outline: np.ndarray | None = None


def detection_picture(
    array: np.ndarray, geometry: Geometry, detection: Detection
) -> Picture:
    """A detection with its box and its mask.

    Args:
        array: HU (z, y, x) on ``geometry``, axes along LPS.
        geometry: Grid of the detection's mask.
        detection: The detection.
    """
    box = outline = None
    caption = f'score {detection.score:.2f}'
    if detection.size_mm is not None:
        (box,) = geometry.box_around(
            np.array([detection.center_mm]), np.array([detection.size_mm])
        )
        caption += f'\n{detection.diameter_mm:.1f} mm'
    if detection.mask is not None:
        outline = np.zeros(array.shape, dtype=bool)
        outline[box_slices(np.array(detection.mask_box))] = detection.mask
    return Picture(array, geometry, detection.center_mm, caption, box, outline)


def nodule_picture(
    array: np.ndarray,
    geometry: Geometry,
    nodule: CaseNodule,
    labels: np.ndarray | None = None,
) -> Picture:
    """A reference nodule of a prepared case, with its box and its mask.

    Args:
        array: HU (z, y, x) of the case.
        geometry: Grid of the case.
        nodule: One of its nodules.
        labels: Nodule ids (z, y, x) of the case, None without masks.
    """
    outline = None
    if labels is not None and nodule.has_mask:
        outline = np.equal(labels, nodule.id)
    return Picture(
        array,
        geometry,
        nodule.center_mm,
        f'{nodule.diameter_mm:.1f} mm',
        np.array(nodule.box),
        outline,
    )


def picture_sheet(pictures: Sequence[Picture], title: str = '') -> Figure:
    """One row per picture: axial, coronal and sagittal plane.

    Radiological orientation: the patient's right is on the left, the head is
    up; sagittal planes show the front on the left.

    Args:
        pictures: Of any scans.
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
    half_mm = _half_side(picture, center)
    dy, dx = half_mm / spacing[rows], half_mm / spacing[columns]
    axes.set_xlim(center[columns] - dx, center[columns] + dx)
    low, high = center[rows] - dy, center[rows] + dy
    # rows run to the back in axial planes, to the head in others
    axes.set_ylim((high, low) if axis == 0 else (low, high))
    axes.set_xticks([])
    axes.set_yticks([])


def _half_side(picture: Picture, center: np.ndarray) -> float:
    """Half side in mm of a picture that shows its whole box."""
    if picture.box is None:
        return HALF_MM
    ends = np.abs(picture.box.reshape(2, 3) - 0.5 - center)
    reach = float((ends * picture.geometry.spacing).max())
    return max(HALF_MM, reach / BOX_FRACTION)


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
