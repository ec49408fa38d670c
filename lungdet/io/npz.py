"""Arrays of a numpy archive (.npz), of bounded size."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.files import check_regular
from lungdet.io.limits import MAX_BYTES

MAX_RATIO = 200  # of all arrays together; HU of lung pack about two to one
SMALL_BYTES = 1 << 20  # up to which any ratio is harmless


def read_arrays(
    path: Path, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Arrays by name; sizes are checked before they are unpacked.

    Args:
        path: Path of the archive.
        names: Those that must be there, and are read; None for all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such an archive, or damaged.
        SeriesError: Not a regular file, or one that claims more bytes than
            its arrays need.
    """
    packed = check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES or size > max(packed * MAX_RATIO, SMALL_BYTES):
            raise SeriesError(
                f'{path}: {packed} bytes claim to unpack to {size} (limit '
                f'{MAX_BYTES:.2g}, and {MAX_RATIO} to one); the file is '
                'damaged, or made to fill the memory. Make it again.'
            )
        with np.load(path, allow_pickle=False) as stored:
            wanted = stored.files if names is None else names
            return {name: _whole(stored, name, size) for name in wanted}
    except SeriesError:
        raise
    except Exception as error:  # numpy raises what damaged headers lead to
        raise ValueError(f'{type(error).__name__}: {error}') from error


def _whole(stored: Any, name: str, size: int) -> np.ndarray:
    """One array, whose header must not claim more than the archive holds.

    Raises:
        ValueError: It does, or it is no array.
    """
    member = name if name in stored.zip.namelist() else f'{name}.npy'
    with stored.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f'{name}: array format {version}')
        shape, _, dtype = read_header(file)
    count = int(np.prod([int(n) for n in shape], dtype=object))
    if count * dtype.itemsize > size or min(shape, default=0) < 0:
        raise ValueError(f'{name}: {shape} values in {size} bytes')
    array = stored[name]
    if not isinstance(array, np.ndarray):
        raise ValueError(f'{name}: not an array')
    return array
