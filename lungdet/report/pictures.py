"""A point of a scan with the voxels around it, to be drawn or shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungdet.geometry import Geometry, box_slices
from lungdet.io.case_store import CaseStore
from lungdet.structures import CaseNodule, Detection

HALF_MM = 32.0  # half side of a picture, more if a box needs it
BOX_FRACTION = 0.8  # of a picture's side, at most
HALF_VOXELS = 40  # read of a prepared case around a point
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

    @property
    def half_mm(self) -> float:
        """Half side in mm of a square that shows the whole box."""
        if self.box is None:
            return HALF_MM
        (center,) = self.geometry.to_index(np.array([self.center_mm]))
        ends = np.abs(self.box.reshape(2, 3) - 0.5 - center)
        reach = float((ends * self.geometry.spacing).max())
        return max(HALF_MM, reach / BOX_FRACTION)


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


def case_picture(
    store: CaseStore,
    series_uid: str,
    center_mm: tuple[float, float, float],
    caption: str,
    *,
    diameter_mm: float | None = None,
) -> Picture | None:
    """A point of a prepared case, with the box of a sphere around it.

    Args:
        store: Has the case.
        series_uid: Series uid of the case.
        center_mm: World point (x, y, z).
        caption: Caption of the picture.
        diameter_mm: Diameter of the sphere in mm, None for a cross.

    Returns:
        None for a point outside the prepared region.
    """
    grid = store.records[series_uid].geometry
    (index,) = np.rint(grid.to_index(np.array([center_mm]))).astype(int)
    if (index < 0).any() or (index >= grid.shape).any():
        return None
    low = np.maximum(index - HALF_VOXELS, 0)
    high = np.minimum(index + HALF_VOXELS, grid.shape)
    geometry, box = grid.crop(low, high - low), None
    if diameter_mm is not None:
        (box,) = geometry.sphere_box(np.array([center_mm]), diameter_mm)
    region = box_slices(np.append(low, high))
    hu = store.read(series_uid, 'image', region)
    return Picture(hu, geometry, center_mm, caption, box)
