"""What a chest CT can be; checked from headers before memory is taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.errors import SeriesError

MAX_VOXELS = 1_500_000_000
MAX_BYTES = 3_000_000_000
MAX_HEADER = 64 * 1024
SPACING_MM = (0.05, 20.0)
MAX_EXTENT_MM = 2500.0
MAX_FILES = 20_000
MAX_DEPTH = 8


def check_grid(
    where: str, shape: Sequence[int], spacing: Sequence[float], itemsize: int
) -> None:
    """Judge a header's sizes and spacings.

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
        if not SPACING_MM[0] <= step <= SPACING_MM[1]:
            raise SeriesError(
                f'{where}: spacing {step:g} mm is outside {SPACING_MM[0]:g}..'
                f'{SPACING_MM[1]:g}; correct the header.'
            )
        if step * size > MAX_EXTENT_MM:
            raise SeriesError(
                f'{where}: an extent of {step * size:g} mm exceeds '
                f'{MAX_EXTENT_MM:g}; correct size or spacing in the header.'
            )
