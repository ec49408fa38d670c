"""Voxel indices to points in the patient's space, and back.

Arrays are (z, y, x); world points are (x, y, z), LPS, mm. The axis order
changes in this package and nowhere else. Integer indices are voxel centres;
edge coordinates (boxes) are index + 0.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lungdet.errors import GeometryError

SINGULAR_MM3 = 1e-9  # voxels smaller than this have no usable inverse


def index_to_world(index_zyx: ArrayLike, affine: np.ndarray) -> np.ndarray:
    """Map continuous voxel indices to world points.

    Args:
        index_zyx: Continuous indices, shape (N, 3), order (z, y, x).
        affine: Index-to-world matrix, shape (4, 4), see ``world_to_index``.

    Returns:
        World points, shape (N, 3), order (x, y, z), LPS, mm, float64.

    Source: DICOM PS3.3 C.7.6.2.1.1.

    Examples:
        >>> affine = np.array(
        ...     [[0, 0, 0.5, 10], [0, 1, 0, 20], [2, 0, 0, 30], [0, 0, 0, 1]]
        ... )
        >>> index_to_world([[1, 2, 3]], affine).tolist()
        [[11.5, 22.0, 32.0]]
    """
    index = np.asarray(index_zyx, dtype=np.float64).reshape(-1, 3)
    return index @ affine[:3, :3].T + affine[:3, 3]


def world_to_index(points_mm: ArrayLike, affine: np.ndarray) -> np.ndarray:
    """Map world points to continuous voxel indices.

    Args:
        points_mm: World points, shape (N, 3), order (x, y, z), LPS, mm.
        affine: Index-to-world matrix, shape (4, 4), float64. Columns 0..2
            step one voxel along z, y, x (array order); column 3 is the world
            position of the centre of voxel (0, 0, 0).

    Returns:
        Continuous indices, shape (N, 3), order (z, y, x), float64. An integer
        is a voxel centre. Points outside the volume are not clipped.

    Raises:
        GeometryError: The affine is singular.

    Source: DICOM PS3.3 C.7.6.2.1.1 (the inverse of its equation).

    Examples:
        >>> affine = np.array(
        ...     [[0, 0, 0.5, 10], [0, 1, 0, 20], [2, 0, 0, 30], [0, 0, 0, 1]]
        ... )
        >>> world_to_index([[11.5, 22, 32]], affine).tolist()
        [[1.0, 2.0, 3.0]]
    """
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    step, origin_mm = affine[:3, :3], affine[:3, 3]
    if abs(np.linalg.det(step)) < SINGULAR_MM3:
        raise GeometryError(
            f'affine: singular (determinant {np.linalg.det(step):.2g} mm^3); '
            'two image axes point the same way or a spacing is 0. '
            'Check ElementSpacing and TransformMatrix in the header.'
        )
    return np.linalg.solve(step, (points - origin_mm).T).T
