"""Rounded and sheared axis directions in headers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lungdet.errors import SeriesError

EXACT = 1e-4  # largest |D^T D - 1| without a caveat
REPAIRED = 1e-2  # the same for a matrix of rounded numbers


def orthonormal(
    where: str, direction: ArrayLike
) -> tuple[np.ndarray, list[str]]:
    """Directions as given, or the nearest orthonormal ones.

    Args:
        where: File, for messages.
        direction: (3, 3), columns are the axes' vectors.

    Returns:
        The directions (3, 3), and a caveat if they were repaired.

    Raises:
        SeriesError: Axes that are sheared, of zero length, or not finite.
    """
    stated = np.asarray(direction, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(stated).all() or np.abs(stated).max() > 2:
        raise SeriesError(
            f'{where}: direction {stated.ravel().tolist()} does not hold '
            'unit vectors; the header is damaged. Export the image again.'
        )
    gap = stated.T @ stated - np.eye(3)
    error = float(np.abs(gap).max())
    if error <= EXACT:
        return stated, []
    if error > REPAIRED:
        raise SeriesError(f'{where}: {_why_sheared(gap)}')
    left, _, right = np.linalg.svd(stated)
    repaired = left @ right
    turned = float(np.degrees(np.abs(stated - repaired).max()))
    return repaired, [
        f'the directions of the axes were not orthonormal (by {error:.1g}); '
        f'the nearest orthonormal ones, {turned:.2g} degrees away, were taken'
    ]


def _why_sheared(gap: np.ndarray) -> str:
    """What is wrong with directions D, from D^T D - 1, and the remedy."""
    lengths = np.sqrt(np.maximum(1 + np.diag(gap), 0))
    if np.abs(lengths - 1).max() > REPAIRED:
        return (
            f'direction: not orthonormal, the vectors of x, y, z have lengths '
            f'{np.array2string(lengths, precision=3)}, not 1; the header is '
            'damaged. Export the image again.'
        )
    cosines = np.triu(gap, 1)
    first, second = np.unravel_index(np.abs(cosines).argmax(), (3, 3))
    angle = np.degrees(np.arccos(np.clip(cosines[first, second], -1, 1)))
    return (
        f'direction: not orthonormal, the axes {"xyz"[first]} and '
        f'{"xyz"[second]} are at {angle:.1f} degrees, not 90: a tilted '
        'gantry or a registration sheared the grid. Exporting does not change '
        'that: resample the image to an orthogonal grid, for instance with '
        'nibabel.processing.conform or SimpleITK.Resample.'
    )
