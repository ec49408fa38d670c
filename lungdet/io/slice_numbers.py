"""Numbers of the slices of a scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lungdet.structures import SeriesResult


def slice_numbers(result: SeriesResult) -> list[int]:
    """``nearest_slices`` of each detection's centre.

    Args:
        result: With its scan's geometry, and DICOM slices where it has any.
    """
    return nearest_slices(result, [d.center_mm for d in result.detections])


def nearest_slices(result: SeriesResult, points_mm: ArrayLike) -> list[int]:
    """Slice of the scan nearest to each point, from 1 in its own order.

    DICOM slices may be unevenly spaced, so they are looked up by their
    positions along the normal.

    Args:
        result: With its scan's geometry, and DICOM slices where it has any.
        points_mm: World points (n, 3), order (x, y, z).
    """
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    if not result.slices:
        grid = result.scan_geometry
        nearest = np.floor(grid.to_index(points)[:, 0] + 0.5)
        return [int(k) + 1 for k in np.clip(nearest, 0, grid.shape[0] - 1)]
    normal, heights = slice_heights(result)
    gaps = np.abs((points @ normal)[:, None] - heights)
    return [int(k) + 1 for k in gaps.argmin(1)]


def slice_heights(result: SeriesResult) -> tuple[np.ndarray, np.ndarray]:
    """Normal (3,) of the DICOM slices, and their positions (n,) along it, mm.

    Args:
        result: With DICOM slices.
    """
    normal = result.slices[0].geometry.direction[:, 2]
    origins = np.array([s.geometry.origin for s in result.slices])
    return normal, origins @ normal
