"""NIfTI files (.nii, .nii.gz) to arrays.

nibabel reads the header and computes its affine. Sizes, types and the length
of the file are checked here, before memory is allocated.
"""

from __future__ import annotations

import gzip
import math
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.file_image import FileImage
from lungdet.io.inflate import check_ratio
from lungdet.io.nifti_header import (
    check_extensions,
    first_byte,
    geometry_of,
    layout,
    read_header,
)

AT_ONCE = 1 << 22  # bytes
GRID_TOL_MM = 0.05  # between corners of equal grids: affines are float32


def read_nifti(path: Path) -> FileImage:
    """Read a NIfTI-1 or NIfTI-2 file of one 3D channel.

    Args:
        path: ``.nii`` or ``.nii.gz``.

    Returns:
        The values as stored, or as float32 if the header scales them. The
        grid is that of nibabel's affine: the sform, else the qform.

    Raises:
        SeriesError: Header or voxels that cannot be right.
    """
    packed = path.name.lower().endswith('.gz')
    try:
        with gzip.open(path) if packed else open(path, 'rb') as file:
            header = read_header(path, file)
            dtype, sizes = layout(path, header)
            geometry, caveats = geometry_of(path, header, sizes)
            start = first_byte(path, header)
            check_extensions(path, header, file, start)
            need = math.prod(sizes) * dtype.itemsize
            if packed:
                check_ratio(str(path), path.stat().st_size, need)
            else:
                _check_length(path, path.stat().st_size - start, need)
            file.seek(start)
            raw = _voxels(path, file, need)
            row = sizes[0] * dtype.itemsize
            caveats += _rest(path, file, need, row)
    except (EOFError, OSError, zlib.error) as error:
        raise SeriesError(
            f'{path}: damaged or cut ({error}); copy the file again.'
        ) from error
    array = np.frombuffer(raw, dtype).reshape(geometry.shape)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder('='))
    return FileImage(
        str(path), _scaled(path, array, header), geometry, tuple(caveats)
    )


def _check_length(path: Path, size: int, need: int) -> None:
    if size < need:
        raise SeriesError(
            f'{path}: {max(size, 0)} bytes of voxels, the header promises '
            f'{need}; the file is cut. Copy it again.'
        )


def _voxels(path: Path, file: BufferedIOBase, need: int) -> bytearray:
    """The voxel bytes, exactly as many as the header states."""
    voxels, got = bytearray(need), 0
    view = memoryview(voxels)
    while got < need and (count := file.readinto(view[got : got + AT_ONCE])):
        got += count
    _check_length(path, got, need)
    return voxels


def _rest(path: Path, file: BufferedIOBase, need: int, row: int) -> list[str]:
    """A caveat about bytes after the voxels; an error if they are voxels.

    Reading to the end compares the checksum of a ``.gz``.
    """
    rest = 0
    while rest < row and (chunk := file.read(AT_ONCE)):
        rest += len(chunk)
    if rest >= row:
        raise SeriesError(
            f'{path}: more than the {need} bytes of voxels that the header '
            'states; it would leave out a part of the scan. Export the image '
            'again.'
        )
    return [f'{rest} bytes after the voxels were left out'] if rest else []


def _scaled(path: Path, array: np.ndarray, header: Any) -> np.ndarray:
    """Values scaled by scl_slope and scl_inter, if given."""
    from nibabel.spatialimages import HeaderDataError
    from nibabel.volumeutils import apply_read_scaling

    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise SeriesError(
            f'{path}: {error}; the header is damaged. Export the image again.'
        ) from error
    if slope is None or (slope, inter) == (1, 0):
        return array
    return apply_read_scaling(array, np.float32(slope), np.float32(inter))
