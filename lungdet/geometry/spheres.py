"""Nodules as spheres: their diameters, and LUNA16's hit test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

UNKNOWN_DIAMETER_MM = 10.0  # LUNA16's rule for a nodule without diameter


def sphere_diameter(volume_mm3: float) -> float:
    """Diameter in mm of the sphere of a volume.

    Examples:
        >>> round(sphere_diameter(113.1), 3)
        6.0
    """
    return float((6 * volume_mm3 / np.pi) ** (1 / 3))


def points_in_spheres(
    centers_mm: ArrayLike, diameters_mm: ArrayLike, points_mm: ArrayLike
) -> np.ndarray:
    """Whether points lie strictly inside spheres.

    Args:
        centers_mm: Centres (n, 3), order (x, y, z), mm.
        diameters_mm: Diameters (n,); NaN or negative means unknown and
            counts as ``UNKNOWN_DIAMETER_MM``.
        points_mm: Points (m, 3), order (x, y, z), mm.

    Returns:
        (n, m) bool; a point on the surface is outside.

    Source: Setio et al. 2017, section 2.3; the official script
        ``noduleCADEvaluationLUNA16.py``.

    Examples:
        >>> points_in_spheres(
        ...     [[0, 0, 0], [20, 0, 0]], [8, np.nan], [[0, 4, 0], [16, 0, 0]]
        ... ).tolist()
        [[False, False], [False, True]]
    """
    centers = np.asarray(centers_mm, dtype=np.float64).reshape(-1, 3)
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    diameters = np.asarray(diameters_mm, dtype=np.float64)
    radii = np.where(diameters >= 0, diameters, UNKNOWN_DIAMETER_MM) / 2.0
    gap = centers[:, None, :] - points[None, :, :]
    # summed in the official order x, y, z; np.sum could pair differently
    square = gap[..., 0] ** 2 + gap[..., 1] ** 2 + gap[..., 2] ** 2
    return square < (radii**2)[:, None]
