"""Pixels of DICOM slices, and their resampling to a regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from lungdet.errors import SeriesError
from lungdet.geometry import interpolate_axis
from lungdet.hounsfield import HU_MAX, HU_MIN
from lungdet.io.dicom_file import DEFLATED, stored_pixels
from lungdet.io.dicom_headers import SliceHeader
from lungdet.io.dicom_stack import extension
from lungdet.io.dicom_values import (
    EXTENDED_HU_MIN,
    below_any_hu,
    rescaled,
    with_padding,
)
from lungdet.io.hu_rules import BAD_FRACTION, ONLY_AIR_HU

RAW_SYNTAXES = {
    '1.2.840.10008.1.2',
    '1.2.840.10008.1.2.1',
    '1.2.840.10008.1.2.2',
    DEFLATED,
}


def read_planes(slices: Sequence[SliceHeader]) -> tuple[np.ndarray, list[str]]:
    """int16 values (z, y, x), rescaled where the headers say how; caveats.

    Raises:
        SeriesError: Pixels that cannot be read, or that are not HU.
    """
    limits = np.iinfo(np.int16)
    shape = (len(slices), slices[0].rows, slices[0].columns)
    array = np.empty(shape, dtype=np.int16)
    beyond, below, padded, first = 0, 0, 0, slices[0]
    for plane, one in zip(array, slices):
        stated = _rescaled_values(one)
        values = np.rint(with_padding(stated, one))
        padded += _padding_like_tissue(stated, values)
        below += below_any_hu(values, one)
        plane[:] = np.clip(values, limits.min, limits.max)
        outside = int((plane != values).sum())
        if outside and not beyond:
            first = one
        beyond += outside
    if beyond > BAD_FRACTION * array.size:
        raise SeriesError(
            f'{first.path}: {beyond} of {array.size} voxels of the series '
            'exceed 16 bits after rescaling, so they are not HU; '
            'PixelRepresentation, the rescale tags or the padding are wrong. '
            'Export the series again.'
        )
    if below > BAD_FRACTION * array.size:
        raise SeriesError(
            f'{slices[0].path}: {below} of {array.size} voxels of the series '
            f'are below {EXTENDED_HU_MIN} HU and not padding, as unsigned '
            'values that are read as signed; PixelRepresentation or '
            'PixelPaddingValue is wrong. Export the series again.'
        )
    caveats = []
    if padded:
        caveats.append(
            f'{padded} of {array.size} voxels have values as of lung or other '
            'tissue, and became air, because PixelPaddingValue to '
            'PixelPaddingRangeLimit covers them; if tissue is missing, these '
            'tags are wrong'
        )
    if beyond:
        caveats.append(
            f'{beyond} voxels exceed 16 bits and became the nearest 16-bit '
            'value'
        )
    return array, caveats


def _padding_like_tissue(stated: np.ndarray, values: np.ndarray) -> int:
    """How many values of lung or other tissue became padding."""
    tissue = (stated > ONLY_AIR_HU) & (stated <= HU_MAX)
    return int((tissue & (values <= HU_MIN)).sum())


def forget_pixels() -> None:
    """Let go of the file read last; it may change before the next read."""
    _stored_frames.cache_clear()


def slice_values(one: SliceHeader) -> np.ndarray:
    """Pixels (rows, columns) of a slice, rescaled if its header says how.

    Raises:
        SeriesError: Pixels that cannot be read.
    """
    return with_padding(_rescaled_values(one), one)


def _rescaled_values(one: SliceHeader) -> np.ndarray:
    """Pixels of a slice before padding is told from them."""
    if one.syntax in RAW_SYNTAXES or one.frame is not None:
        return rescaled(_stored(one), one)
    return _decoded(one)  # SimpleITK rescales what it decodes


def shift_planes(array: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Planes on the grid that holds all of them; air beside each.

    Linear interpolation, between the outermost voxels and the air too. Air is
    the lowest value, but not padding: values that lack their rescale have no
    -1024, and one that the scan lacks would hide that they are not HU.

    Args:
        array: int16 (z, y, x).
        shifts: Voxels (z, 2) along rows and columns, from the first voxel of
            the new grid to that of each plane.
    """
    air = max(int(array.min()), HU_MIN)
    sides = np.add(array.shape[1:], extension(shifts))
    rows, columns = (np.arange(n) for n in sides)
    shifted = np.empty((len(array), *sides), dtype=array.dtype)
    for new, old, (down, right) in zip(shifted, array, shifts):
        framed = np.pad(old, 1, constant_values=air)
        moved = interpolate_axis(framed, rows - down + 1, axis=0)
        new[:] = np.rint(interpolate_axis(moved, columns - right + 1, axis=1))
    return shifted


def resample_planes(array: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Planes at continuous plane indices, linear interpolation.

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
def _stored_frames(path: Path, pixel_bytes: int) -> np.ndarray:
    return stored_pixels(path, pixel_bytes)


def _stored(one: SliceHeader) -> np.ndarray:
    """Stored values of an uncompressed slice, or of any frame."""
    pixel_bytes = 2 * one.rows * one.columns * one.frames
    try:
        return _stored_frames(one.path, pixel_bytes)[one.frame or 0]
    except SeriesError:
        raise
    except RuntimeError as error:
        raise SeriesError(
            f'{one.path}: frames of transfer syntax {one.syntax} cannot be '
            f'decoded ({error}); export the series uncompressed.'
        ) from error
    except Exception as error:  # pydicom raises what damaged bytes lead to
        raise SeriesError(
            f'{one.path}: pixels cannot be read ({error}); the file may be '
            'cut, copy it again.'
        ) from error


def _decoded(one: SliceHeader) -> np.ndarray:
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
