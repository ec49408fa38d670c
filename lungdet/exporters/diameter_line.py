"""A nodule's diameter as a line on a DICOM slice.

Source: DICOM PS3.3 C.18.6, which counts pixels from 0 at the outer corner of
the first one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lungdet.geometry import Geometry


def pixel_positions(points_mm: ArrayLike, grid: Geometry) -> np.ndarray:
    """World points, projected onto a slice.

    Args:
        points_mm: World points (n, 3), order (x, y, z).
        grid: Grid (1, rows, columns) of the slice.

    Returns:
        (n, 2): column and row, as SCOORD counts them, from the outer corner of
        the first pixel.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (1, 8, 20), spacing_zyx=(1, 1, 0.5), origin_xyz=(0, 0, 0)
        ... )
        >>> pixel_positions([(5, 3, 0.2)], grid).tolist()
        [[10.5, 3.5]]
    """
    return grid.to_index(points_mm)[:, :0:-1] + 0.5


def diameter_line(
    center_mm: Sequence[float], diameter_mm: float, grid: Geometry
) -> np.ndarray | None:
    """Ends of a line that shows a diameter on a slice.

    Its middle is the centre, projected onto the slice. It runs along the rows,
    or along the columns where the slice ends before it does.

    Args:
        center_mm: World point (x, y, z).
        diameter_mm: Length of the line.
        grid: Grid (1, rows, columns) of the slice.

    Returns:
        Ends (2, 2), as ``pixel_positions``; None if the slice is too small.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (1, 8, 20), spacing_zyx=(1, 1, 0.5), origin_xyz=(0, 0, 0)
        ... )
        >>> diameter_line((5, 3, 0.2), 4, grid).tolist()
        [[6.5, 3.5], [14.5, 3.5]]
        >>> diameter_line((1, 3, 0.2), 4, grid).tolist()
        [[2.5, 1.5], [2.5, 5.5]]
    """
    (middle,) = pixel_positions([center_mm], grid)
    ends = grid.shape[:0:-1]
    for along in np.eye(2):
        half = diameter_mm / 2 / grid.spacing[:0:-1] * along
        line = np.array([middle - half, middle + half])
        if (line >= 0).all() and (line <= ends).all():
            return line
    return None
