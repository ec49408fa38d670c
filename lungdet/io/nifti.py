"""NIfTI files (.nii, .nii.gz) to arrays.

nibabel reads the header and gives its affine. Sizes, types and the length of
the file are checked here, before memory is taken.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.file_image import FileImage
from lungdet.io.limits import check_grid

MAX_OFFSET = 1 << 30  # bytes before the voxels
CHUNK = 1 << 22
NO_ORIENTATION = (
    'no orientation in the header (qform and sform are 0); taken as LPS with '
    'origin 0'
)


def read_nifti(path: Path) -> FileImage:
    """Read a NIfTI-1 or NIfTI-2 file of one 3D channel.

    Args:
        path: ``.nii`` or ``.nii.gz``.

    Returns:
        The values as stored, or as float32 where the header scales them. The
        grid is that of nibabel's affine: the sform, else the qform.

    Raises:
        SeriesError: Header or voxels that cannot be right.
    """
    packed = path.name.lower().endswith('.gz')
    try:
        with gzip.open(path) if packed else open(path, 'rb') as file:
            header = _header(path, file)
            dtype, sizes = _layout(path, header)
            geometry = _geometry(path, header, sizes)
            file.seek(_first_byte(path, header))
            raw = _voxels(path, file, math.prod(sizes) * dtype.itemsize)
    except (EOFError, OSError, zlib.error) as error:
        raise SeriesError(
            f'{path}: damaged or cut ({error}); copy the file again.'
        ) from error
    array = np.frombuffer(raw, dtype).reshape(geometry.shape)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder('='))
    caveats = () if _has_orientation(header) else (NO_ORIENTATION,)
    return FileImage(
        str(path), _scaled(path, array, header), geometry, caveats
    )


def _header(path: Path, file: BufferedIOBase) -> Any:
    """nibabel's header, its values not yet checked."""
    from nibabel import Nifti1Header, Nifti2Header

    first = file.read(4)  # the header's length
    for kind in (Nifti1Header, Nifti2Header):
        length = kind.sizeof_hdr
        for order in ('<', '>'):
            if first == struct.pack(f'{order}i', length):
                block = first + file.read(length - len(first))
                if len(block) < length:
                    raise EOFError('the header is cut')
                return kind(block, order, check=False)
    raise SeriesError(
        f'{path}: no NIfTI header at the start of the file; copy or export '
        'the image again.'
    )


def _layout(path: Path, header: Any) -> tuple[np.dtype, list[int]]:
    """Type of a voxel, and how many there are along (x, y, z)."""
    from nibabel.spatialimages import HeaderDataError

    if not header['magic'].item().startswith((b'n+1', b'n+2')):
        raise SeriesError(
            f'{path}: magic is {header["magic"].item()!r}; the voxels of a '
            'NIfTI pair are in another file, which is not read. Store header '
            'and voxels in one file.'
        )
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):  # KeyError: no code of a type
        dtype = np.dtype('V')
    if (
        dtype.kind not in 'iuf'
        or dtype.itemsize > 8
        or header['bitpix'] != dtype.itemsize * 8
    ):
        raise SeriesError(
            f'{path}: NIfTI datatype {header["datatype"]} of '
            f'{header["bitpix"]} bits is not supported; store integers or '
            'floats.'
        )
    rank = int(header['dim'][0])
    sizes = [int(n) for n in header['dim'][1 : max(rank, 0) + 1]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    steps = [float(step) for step in header['pixdim'][1:4]]
    check_grid(str(path), sizes, steps, dtype.itemsize)
    return dtype, sizes


def _has_orientation(header: Any) -> bool:
    return bool(header['qform_code'] > 0 or header['sform_code'] > 0)


def _geometry(path: Path, header: Any, sizes: list[int]) -> Geometry:
    """Grid of nibabel's affine; of the voxel sizes alone without one."""
    try:
        if _has_orientation(header):
            with np.errstate(invalid='ignore'):  # NaN is refused by Geometry
                affine = header.get_best_affine()
            geometry = Geometry.from_ras(sizes, affine)
        else:
            geometry = Geometry.from_itk(
                sizes, spacing=header['pixdim'][1:4], origin=(0, 0, 0)
            )
    except (GeometryError, ValueError) as error:  # a quaternion that is none
        raise SeriesError(
            f'{path}: no orientation follows from the header ({error}); '
            'export the image again.'
        ) from error
    check_grid(str(path), geometry.shape, [*geometry.spacing], 1)
    return geometry


def _first_byte(path: Path, header: Any) -> int:
    start = float(header['vox_offset'])
    if not 0 <= start < MAX_OFFSET:
        raise SeriesError(
            f'{path}: vox_offset is {start:g}, which no file has; the header '
            'is damaged. Export the image again.'
        )
    return max(int(start), header.sizeof_hdr)  # 0 means behind the header


def _voxels(path: Path, file: BufferedIOBase, need: int) -> bytearray:
    """The voxels' bytes, exactly as many as the header promises."""
    voxels, got = bytearray(need), 0
    view = memoryview(voxels)
    while got < need and (count := file.readinto(view[got : got + CHUNK])):
        got += count
    if got < need:
        raise SeriesError(
            f'{path}: {got} bytes of voxels, the header promises {need}; the '
            'file is cut. Copy it again.'
        )
    file.read(CHUNK)  # to the end of a .gz, where its checksum stands
    return voxels


def _scaled(path: Path, array: np.ndarray, header: Any) -> np.ndarray:
    """Values as scl_slope and scl_inter say, if they say anything."""
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
