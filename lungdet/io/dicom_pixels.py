"""Pixels of DICOM slices, and their resampling to a regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from lungdet.errors import SeriesError
from lungdet.geometry import interpolate_axis
from lungdet.io.dicom_headers import Slice, read_errors

RAW_SYNTAXES = {
    '1.2.840.10008.1.2',
    '1.2.840.10008.1.2.1',
    '1.2.840.10008.1.2.2',
    '1.2.840.10008.1.2.1.99',
}


def read_planes(slices: Sequence[Slice]) -> np.ndarray:
    """int16 values (z, y, x), rescaled where the headers say how.

    Raises:
        SeriesError: Pixels that cannot be read.
    """
    limits = np.iinfo(np.int16)
    shape = (len(slices), slices[0].rows, slices[0].columns)
    array = np.empty(shape, dtype=np.int16)
    for plane, one in zip(array, slices):
        plane[:] = np.clip(np.rint(slice_values(one)), limits.min, limits.max)
    _stored_frames.cache_clear()
    return array


def slice_values(one: Slice) -> np.ndarray:
    """Pixels (rows, columns) of a slice, rescaled if its header says how.

    Raises:
        SeriesError: Pixels that cannot be read.
    """
    if one.syntax in RAW_SYNTAXES or one.frame is not None:
        return _raw(one)
    return _decoded(one)


def shift_planes(array: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Move every plane, linear, edges repeated.

    Args:
        array: int16 (z, y, x).
        shifts: Voxels (z, 2) along rows and columns; plane k of the result
            shows the old one at (row - shift 0, column - shift 1).
    """
    _, rows, columns = (np.arange(n) for n in array.shape)
    shifted = np.empty_like(array)
    for new, old, (down, right) in zip(shifted, array, shifts):
        moved = interpolate_axis(old, rows - down, axis=0)
        new[:] = np.rint(interpolate_axis(moved, columns - right, axis=1))
    return shifted


def resample_planes(array: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Planes at continuous plane indices, linear.

    Args:
        array: int16 (z, y, x).
        planes: Indices (n,) along the first axis, within the array.
    """
    resampled = np.empty((len(planes), *array.shape[1:]), dtype=array.dtype)
    below = np.minimum(planes.astype(int), len(array) - 2)
    for new, low, index in zip(resampled, below, planes):
        pair = array[low : low + 2]  # a float copy of all planes is large
        new[:] = np.rint(interpolate_axis(pair, [index - low], axis=0)[0])
    return resampled


@lru_cache(maxsize=1)  # frames are read one by one from the same file
def _stored_frames(path: Path) -> np.ndarray:
    """Stored values (frames, rows, columns) of a file."""
    from pydicom.pixels import pixel_array

    array = pixel_array(path)
    return array if array.ndim == 3 else array[None]


def _raw(one: Slice) -> np.ndarray:
    """Rescaled values of an uncompressed slice, or of any frame."""
    try:
        stored = _stored_frames(one.path)[one.frame or 0]
    except read_errors() as error:
        raise SeriesError(
            f'{one.path}: pixels cannot be read ({error}); the file may be '
            'cut, copy it again.'
        ) from error
    except RuntimeError as error:
        raise SeriesError(
            f'{one.path}: frames of transfer syntax {one.syntax} cannot be '
            f'decoded ({error}); export the series uncompressed.'
        ) from error
    spare = max(16 - (one.bits or 16), 0)  # bits that may hold overlays
    values = (stored << spare) >> spare
    if not one.has_rescale:
        return values
    return values * np.float32(one.slope) + np.float32(one.intercept)


def _decoded(one: Slice) -> np.ndarray:
    """Rescaled values of a compressed slice, as SimpleITK gives them."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(one.path))
    except RuntimeError as error:
        raise SeriesError(
            f'{one.path}: transfer syntax {one.syntax} cannot be decoded '
            f'({str(error).strip().splitlines()[-1]}); export the series '
            'uncompressed.'
        ) from error
    array = sitk.GetArrayFromImage(image).reshape(-1, *image.GetSize()[1::-1])
    if array.shape != (1, one.rows, one.columns):
        raise SeriesError(
            f'{one.path}: decodes to {array.shape}, the header says '
            f'{one.rows} x {one.columns}; copy it again.'
        )
    return array[0]
