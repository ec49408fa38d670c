"""Closing of a mask by a distance."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungdet.geometry import occupied


def close_mask(
    mask: np.ndarray, spacing: np.ndarray, reach_mm: float
) -> np.ndarray:
    """Dilate and erode by the distances of the voxel centres.

    Args:
        mask: Boolean (z, y, x).
        spacing: mm along (z, y, x).
        reach_mm: Distance of both steps.

    Returns:
        Boolean (z, y, x), a superset of ``mask``.
    """
    if not mask.any():
        return mask.copy()
    reach = np.ceil(reach_mm / spacing).astype(int) + 1
    # the end slices repeat, so lungs cut by the scan's end do not shrink
    ends = [(reach[0], reach[0]), (0, 0), (0, 0)]
    sides = [(0, 0), (reach[1], reach[1]), (reach[2], reach[2])]
    rows = occupied(mask, 1)
    columns = occupied(mask, 2)
    part = mask[:, rows, columns]
    wide = np.pad(np.pad(part, ends, mode='edge'), sides)
    grown = ndimage.distance_transform_edt(~wide, spacing) <= reach_mm
    closed = ndimage.distance_transform_edt(grown, spacing) > reach_mm
    inner = tuple(slice(r, r + n) for r, n in zip(reach, part.shape))
    result = mask.copy()
    result[:, rows, columns] |= closed[inner]
    return result
