"""Limits of images and chest CTs, checked before memory is allocated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry

# of any image
MAX_VOXELS = 1_500_000_000
MAX_BYTES = 3_000_000_000
MAX_HEADER = 64 * 1024  # bytes
SPACING_MM = (0.05, 20.0)
ORIGIN_MM = 100_000.0  # of the first voxel from the scanner's centre
# of a chest CT, axial
SLICES, SIDE = (8, 3000), (16, 2048)  # voxels
SLICE_STEP_MM, PIXEL_MM = (0.1, 20.0), (0.05, 10.0)
EXTENT_MM = (50.0, 2500.0)
# of a DICOM folder
MAX_FILES = 20_000
MAX_DEPTH = 8


def check_grid(
    where: str, shape: Sequence[int], spacing: Sequence[float], itemsize: int
) -> None:
    """Check the sizes and spacings that a header of any image states.

    Args:
        where: File, for the message.
        shape: Voxels per axis, any order.
        spacing: mm per axis, in the same order.
        itemsize: Bytes per voxel.

    Raises:
        SeriesError: Not three axes, a size or spacing out of range, or more
            memory than the limits allow.
    """
    if len(shape) != 3:
        raise SeriesError(
            f'{where}: expected one 3D channel, got sizes {tuple(shape)}; '
            'export a single 3D image.'
        )
    if min(shape) < 1:
        raise SeriesError(
            f'{where}: size {tuple(shape)} has an axis without voxels; the '
            'header is broken. Export the image again.'
        )
    voxels = int(np.prod([int(n) for n in shape], dtype=object))
    if voxels > MAX_VOXELS or voxels * itemsize > MAX_BYTES:
        raise SeriesError(
            f'{where}: image claims {"x".join(map(str, shape))} voxels '
            f'(limit {MAX_VOXELS:.2g}); crop it, or correct the header.'
        )
    for step, size in zip(spacing, shape):
        _check_range(where, 'spacing', step, SPACING_MM)
        if step * size > EXTENT_MM[1]:
            raise SeriesError(
                f'{where}: an extent of {step * size:g} mm exceeds '
                f'{EXTENT_MM[1]:g}; correct size or spacing in the header.'
            )


def check_origin(where: str, origin: Sequence[float]) -> None:
    """Check where a header puts the first voxel.

    Args:
        where: File, for the message.
        origin: World position (x, y, z), mm.

    Raises:
        SeriesError: Not finite, or farther away than any scanner reaches.
    """
    if not np.abs(np.asarray(origin, dtype=np.float64)).max() <= ORIGIN_MM:
        raise SeriesError(
            f'{where}: the origin {[float(v) for v in origin]} mm is farther '
            f'than {ORIGIN_MM:g} from the centre; correct the header.'
        )


def check_chest(where: str, geometry: Geometry) -> None:
    """Check whether a grid (z, y, x) can be that of a chest CT.

    Raises:
        SeriesError: Too few or too many slices or pixels, a spacing that no
            CT has, or an extent that no chest has.
    """
    for name, axis, size, step in (
        ('z', 0, SLICES, SLICE_STEP_MM),
        ('y', 1, SIDE, PIXEL_MM),
        ('x', 2, SIDE, PIXEL_MM),
    ):
        voxels, spacing = geometry.shape[axis], geometry.spacing[axis]
        if not size[0] <= voxels <= size[1]:
            raise SeriesError(
                f'{where}: {voxels} voxels along {name}; a chest CT has '
                f'{size[0]}..{size[1]}. Check that this is the CT.'
            )
        _check_range(where, f'spacing {name}', spacing, step)
        _check_range(where, f'extent {name}', voxels * spacing, EXTENT_MM)


def _check_range(
    where: str, what: str, value: float, limits: tuple[float, float]
) -> None:
    if not limits[0] <= value <= limits[1]:
        raise SeriesError(
            f'{where}: {what} {value:g} mm is outside {limits[0]:g}..'
            f'{limits[1]:g}; correct the header.'
        )
