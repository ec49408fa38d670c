"""NRRD files (.nrrd) to arrays.

SimpleITK reads the voxels after the header was checked here; on its own it
accepts voxels in other files and absent spacings without a word.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.file_image import FileImage
from lungdet.io.limits import MAX_HEADER, check_grid

ITEMSIZES = {
    **dict.fromkeys(('char', 'int8', 'int8_t', 'signed char'), 1),
    **dict.fromkeys(('uchar', 'uint8', 'uint8_t', 'unsigned char'), 1),
    **dict.fromkeys(('short', 'int16', 'int16_t', 'signed short'), 2),
    **dict.fromkeys(('ushort', 'uint16', 'uint16_t', 'unsigned short'), 2),
    **dict.fromkeys(('int', 'int32', 'int32_t', 'signed int'), 4),
    **dict.fromkeys(('uint', 'uint32', 'uint32_t', 'unsigned int'), 4),
    'float': 4,
    'double': 8,
}
PATIENT_SPACES = (
    'left-posterior-superior',
    'lps',
    'right-anterior-superior',
    'ras',
)


def read_nrrd(path: Path) -> FileImage:
    """Read a NRRD file of one 3D channel.

    Args:
        path: ``.nrrd``, header and voxels in one file.

    Raises:
        SeriesError: Header or voxels that cannot be right.
    """
    fields, start = _fields(path)
    _check_header(path, fields, start)
    array, geometry = _read(path)
    return FileImage(str(path), array, geometry, tuple(_caveats(fields)))


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Header fields, names without blanks, and the byte after the header."""
    with open(path, 'rb') as file:
        head = file.read(MAX_HEADER)
    end = re.search(rb'\r?\n\r?\n', head)
    if end is None or not head.startswith(b'NRRD'):
        raise SeriesError(
            f'{path}: no NRRD header in the first {MAX_HEADER} bytes; copy '
            'or export the image again.'
        )
    fields: dict[str, str] = {}
    text = head[: end.start()].decode('utf-8', errors='replace')
    for line in text.splitlines()[1:]:
        key, colon, value = line.partition(':')
        if not colon or line.startswith('#') or value.startswith('='):
            continue
        key = key.replace(' ', '').lower()
        if key in fields:
            raise SeriesError(
                f'{path}: {key} stands twice in the header; remove one.'
            )
        fields[key] = value.strip()
    return fields, end.end()


def _check_header(path: Path, fields: dict[str, str], start: int) -> None:
    name = fields.get('datafile')
    if name is not None:
        raise SeriesError(
            f'{path}: the voxels are in another file ({name!r}), which is '
            'not read; store header and voxels in one file.'
        )
    kind = fields.get('type', '').lower()
    if kind not in ITEMSIZES:
        raise SeriesError(
            f'{path}: NRRD type {kind!r} is not supported; store integers or '
            'floats.'
        )
    sizes = [int(v) for v in _numbers(path, fields, 'sizes')]
    spacing = _spacing(path, fields, len(sizes))
    check_grid(str(path), sizes, spacing, ITEMSIZES[kind])
    need = math.prod(sizes) * ITEMSIZES[kind]
    size = path.stat().st_size - start
    if fields.get('encoding') == 'raw' and size < need:
        raise SeriesError(
            f'{path}: {size} bytes of voxels, the header promises {need}; '
            'the file is cut. Copy it again.'
        )


def _caveats(fields: dict[str, str]) -> list[str]:
    caveats = []
    space = fields.get('space', '').lower()
    if space not in PATIENT_SPACES:
        caveats.append(
            f'no patient space in the header (space is {space!r}); taken as '
            'LPS'
        )
    if 'spaceorigin' not in fields:
        caveats.append('no space origin in the header; taken as 0')
    return caveats


def _numbers(path: Path, fields: dict[str, str], key: str) -> list[float]:
    text = fields.get(key, '')
    try:
        values = [float(word) for word in re.split(r'[\s,()]+', text) if word]
    except ValueError:
        values = []
    if not values or not all(map(math.isfinite, values)):
        raise SeriesError(
            f'{path}: {key} is {text!r}, which gives no sizes in mm or '
            'voxels; correct the header.'
        )
    return values


def _spacing(path: Path, fields: dict[str, str], axes: int) -> list[float]:
    """mm along each axis; SimpleITK takes 1 mm for an absent one."""
    if 'spacedirections' not in fields:
        return _numbers(path, fields, 'spacings')
    vectors = np.array(_numbers(path, fields, 'spacedirections'))
    if len(vectors) != 3 * axes:
        raise SeriesError(
            f'{path}: {len(vectors) // 3} space directions for {axes} axes; '
            'expected one 3D channel. Export the CT values alone.'
        )
    return [float(np.linalg.norm(v)) for v in vectors.reshape(axes, 3)]


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels and grid, as SimpleITK gives them."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SeriesError(
            f'{path}: cannot be read ({reason}); copy or export it again.'
        ) from error
    array = sitk.GetArrayFromImage(image)
    try:
        geometry = Geometry.from_itk(
            image.GetSize(),
            spacing=image.GetSpacing(),
            origin=image.GetOrigin(),
            direction=image.GetDirection(),
        )
    except GeometryError as error:
        raise SeriesError(f'{path}: {error}') from error
    return array, geometry
