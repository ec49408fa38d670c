"""Signed distances to surfaces, and voxel fractions of blurred surfaces."""

from __future__ import annotations

import numpy as np

EDGE_MM = 1.2  # width of a blurred edge, in plane


def inside_fraction(
    distance: np.ndarray, width: float = EDGE_MM
) -> np.ndarray:
    """Fraction of a voxel inside a surface.

    Args:
        distance: Signed distances to the surface in mm, below 0 inside.
        width: Width of the blurred edge in mm.
    """
    return np.clip(0.5 - distance / width, 0, 1)


def ellipse_distance(
    x: np.ndarray, y: np.ndarray, a: float, b: float
) -> np.ndarray:
    """Approximate signed distance to an ellipse at 0, exact on its surface.

    Args:
        x: Coordinates in mm; broadcast with ``y``.
        y: Coordinates in mm.
        a: Half axis along x, mm.
        b: Half axis along y, mm.
    """
    return (np.sqrt((x / a) ** 2 + (y / b) ** 2) - 1) * min(a, b)


def capsule_distance(
    local_zyx: tuple[np.ndarray, np.ndarray, np.ndarray],
    along_xyz: np.ndarray,
    radii: tuple[float, float],
) -> np.ndarray:
    """Signed distance to a tube with round ends.

    Args:
        local_zyx: Offsets from the tube's start along z, y, x in mm,
            broadcast with each other.
        along_xyz: From start to stop, (3,) x, y, z mm.
        radii: At start and stop, mm; linear in between.
    """
    z, y, x = local_zyx
    length2 = max(float(along_xyz @ along_xyz), 1e-9)
    t = (x * along_xyz[0] + y * along_xyz[1] + z * along_xyz[2]) / length2
    t = np.clip(t, 0, 1)
    distance = np.sqrt(
        (x - t * along_xyz[0]) ** 2
        + (y - t * along_xyz[1]) ** 2
        + (z - t * along_xyz[2]) ** 2
    )
    return distance - (radii[0] + t * (radii[1] - radii[0]))
