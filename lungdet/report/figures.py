"""Pictures of nodules: three planes with box and outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lungdet.geometry import Geometry
from lungdet.hounsfield import LUNG_WINDOW

HALF_MM = 32.0  # half side of a picture
PLANES = (('axial', 0), ('coronal', 1), ('sagittal', 2))


@dataclass(frozen=True)
class Place:
    """A place in a scan, with voxels around it.

    Attributes:
        array: HU (z, y, x) on ``geometry``, axes along LPS.
        geometry: Its grid.
        center_mm: World point (x, y, z) that the planes go through.
        diameter_mm: Side of the box drawn, None for none.
        caption: Stands beside the row.
    """

    array: np.ndarray
    geometry: Geometry
    center_mm: tuple[float, float, float]
    diameter_mm: float | None
    caption: str


def place_sheet(places: Sequence[Place], title: str) -> Figure:
    """One row a place, of any scans; planes as in ``nodule_sheet``."""
    figure, axes = _grid(len(places))
    for row, place in zip(axes, places):
        (center,) = place.geometry.to_index(np.array([place.center_mm]))
        box = None
        if place.diameter_mm is not None:
            (box,) = place.geometry.sphere_box(
                np.array([place.center_mm]), place.diameter_mm
            )
        _draw_row(row, place.array, place.geometry, center, box)
        row[0].set_ylabel(place.caption, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def nodule_sheet(
    array: np.ndarray,
    geometry: Geometry,
    nodules: Sequence[Any],
    *,
    masks: np.ndarray | None = None,
) -> Figure:
    """One row a nodule: axial, coronal and sagittal plane through its centre.

    Radiological orientation: the patient's right is on the left, the head is
    up; sagittal planes show the front on the left.

    Args:
        array: HU (z, y, x) on ``geometry``, axes along LPS.
        geometry: Its grid.
        nodules: Each has ``center_mm`` and ``diameter_mm``, and may have
            ``box`` (an edge box on ``geometry``) or ``size_mm`` (z, y, x),
            ``score``, ``id``, ``mask_box``, ``mask``.
        masks: Nodule numbers (z, y, x); the outline of number ``id`` is
            drawn.
    """
    figure, axes = _grid(len(nodules))
    for row, nodule in zip(axes, nodules):
        center = geometry.to_index(np.array([nodule.center_mm]))[0]
        box = _box(nodule, geometry, center)
        outline = _outline(nodule, array.shape, masks)
        _draw_row(row, array, geometry, center, box, outline)
        row[0].set_ylabel(_caption(nodule), fontsize=8)
    return figure


def _box(nodule: Any, geometry: Geometry, center: np.ndarray) -> np.ndarray:
    """Edge box to draw: the nodule's own, or of its sides or diameter."""
    own = getattr(nodule, 'box', None)
    if own is not None:
        return np.array(own)
    size = getattr(nodule, 'size_mm', None) or (nodule.diameter_mm,) * 3
    half = np.array(size) / geometry.spacing / 2
    return np.concatenate([center - half, center + half]) + 0.5


def _grid(rows: int) -> tuple[Figure, np.ndarray]:
    """A figure of three planes a row, and its axes (rows, 3)."""
    rows = max(rows, 1)
    figure = Figure(figsize=(7.5, 2.6 * rows), layout='constrained')
    return figure, figure.subplots(rows, 3, squeeze=False)


def _draw_row(
    row: np.ndarray,
    array: np.ndarray,
    geometry: Geometry,
    center: np.ndarray,
    box: np.ndarray | None,
    outline: np.ndarray | None = None,
) -> None:
    for place, (name, axis) in zip(row, PLANES):
        _draw_plane(place, array, geometry, center, axis)
        if box is None:
            _draw_cross(place, center, axis)
        else:
            _draw_box(place, box, axis)
        if outline is not None:
            _draw_outline(place, outline, center, axis)
        place.set_title(name, fontsize=8)


def _caption(nodule: Any) -> str:
    score = getattr(nodule, 'score', None)
    text = f'{nodule.diameter_mm:.1f} mm'
    return text if score is None else f'score {score:.2f}\n{text}'


def _outline(
    nodule: Any, shape: tuple[int, ...], masks: np.ndarray | None
) -> np.ndarray | None:
    if masks is not None and getattr(nodule, 'has_mask', True):
        return masks == nodule.id
    mask = getattr(nodule, 'mask', None)
    if mask is None:
        return None
    full = np.zeros(shape, dtype=bool)
    z1, y1, x1, z2, y2, x2 = nodule.mask_box
    full[z1:z2, y1:y2, x1:x2] = mask
    return full


def _slice(
    array: np.ndarray, center: np.ndarray, axis: int
) -> tuple[np.ndarray, int, int]:
    """Plane through ``center``, and the axes of its rows and columns."""
    k = int(np.clip(np.rint(center[axis]), 0, array.shape[axis] - 1))
    rows, columns = (a for a in range(3) if a != axis)
    return array.take(k, axis), rows, columns


def _draw_plane(
    place: Any,
    array: np.ndarray,
    geometry: Geometry,
    center: np.ndarray,
    axis: int,
) -> None:
    plane, rows, columns = _slice(array, center, axis)
    spacing = geometry.spacing
    place.imshow(
        plane,
        cmap='gray',
        vmin=LUNG_WINDOW.low,
        vmax=LUNG_WINDOW.high,
        aspect=spacing[rows] / spacing[columns],
        interpolation='nearest',
    )
    dy, dx = HALF_MM / spacing[rows], HALF_MM / spacing[columns]
    place.set_xlim(center[columns] - dx, center[columns] + dx)
    low, high = center[rows] - dy, center[rows] + dy
    # rows run to the back in axial planes, to the head in the others
    place.set_ylim((high, low) if axis == 0 else (low, high))
    place.set_xticks([])
    place.set_yticks([])


def _draw_box(place: Any, box: np.ndarray, axis: int) -> None:
    rows, columns = (a for a in range(3) if a != axis)
    y1, y2 = box[[rows, rows + 3]] - 0.5
    x1, x2 = box[[columns, columns + 3]] - 0.5
    place.plot(
        [x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color='yellow', lw=0.8
    )


def _draw_cross(place: Any, center: np.ndarray, axis: int) -> None:
    y, x = (center[a] for a in range(3) if a != axis)
    place.plot([x], [y], '+', color='yellow', ms=7, mew=0.8)


def _draw_outline(
    place: Any, mask: np.ndarray, center: np.ndarray, axis: int
) -> None:
    plane = _slice(mask, center, axis)[0]
    if plane.any():
        place.contour(plane, levels=[0.5], colors='cyan', linewidths=0.8)
