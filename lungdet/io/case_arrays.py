"""One array of a case: compressed in chunks, checked, read by region."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.geometry import Region

# voxels; measured fastest for 128^3 crops
CHUNK_SIDE, BLOCK_SIDE = 64, 32
REMEDY = 'Delete the case and prepare it again.'
Part = Region | slice | EllipsisType


def packed(array: np.ndarray) -> bytes:
    """The bytes of an array's file.

    They are made in memory, since blosc2 hides the system's errors of writing.
    """
    import blosc2

    return blosc2.asarray(
        array,
        chunks=tuple(min(CHUNK_SIDE, n) for n in array.shape),
        blocks=tuple(min(BLOCK_SIDE, n) for n in array.shape),
        cparams=blosc2.CParams(
            codec=blosc2.Codec.LZ4HC,
            clevel=5,
            filters=[blosc2.Filter.SHUFFLE],
            nthreads=1,
        ),
        dparams=blosc2.DParams(nthreads=1),
        contiguous=True,  # else the bytes depend on what was read before
    ).to_cframe()


def open_array(path: Path, shape: tuple[int, ...], dtype: type) -> Any:
    """Open a file for reading.

    Args:
        path: Path of the file.
        shape: Shape that it must have.
        dtype: Type of its values.

    Raises:
        SeriesError: It is missing, damaged, or of another shape or type.
    """
    import blosc2

    try:
        if not path.is_file():  # a pipe would block
            raise FileNotFoundError('no such file')
        array = blosc2.open(
            str(path), mode='r', dparams=blosc2.DParams(nthreads=1)
        )
    except Exception as error:  # blosc2 raises many kinds
        raise SeriesError(
            f'{path}: missing or damaged ({error}). {REMEDY}'
        ) from error
    if not isinstance(array, blosc2.NDArray):
        raise SeriesError(f'{path}: not an array, or damaged. {REMEDY}')
    if array.shape != shape:
        raise SeriesError(
            f'{path}: of shape {array.shape}, the index says {shape}; the '
            'case was written after the index. Prepare the scans again.'
        )
    if array.dtype != dtype:
        raise SeriesError(
            f'{path}: of type {array.dtype}, not {dtype.__name__}; it is '
            f'damaged. {REMEDY}'
        )
    return array


def read_part(array: Any, region: Part) -> np.ndarray:
    """A region of an open array.

    Args:
        array: As returned by ``open_array``.
        region: Index of the region.

    Raises:
        SeriesError: The file is damaged.
    """
    try:
        return array[region]
    except Exception as error:  # blosc2 raises many kinds
        raise SeriesError(
            f'{array.urlpath}: cannot be read ({error}); the file is damaged. '
            f'{REMEDY}'
        ) from error


def check_array(array: Any, stated: int, path: Path) -> None:
    """Compare the values of an open array with their checksum.

    Args:
        array: As returned by ``open_array``.
        stated: CRC-32 of the raw values.
        path: Path of its file, for the message.

    Raises:
        SeriesError: It differs.
    """
    checksum = 0
    for start in range(0, array.shape[0], CHUNK_SIDE):
        part = read_part(array, slice(start, start + CHUNK_SIDE))
        checksum = zlib.crc32(np.ascontiguousarray(part).data, checksum)
    if checksum != stated:
        raise SeriesError(
            f'{path}: checksum {checksum} is not {stated}; the file changed '
            f'since it was prepared. {REMEDY}'
        )
