"""NRRD files (.nrrd) to arrays.

These are not read by SimpleITK, whose reader silently accepts voxels in other
files and missing spacings, does not verify the checksum of compressed voxels,
and writes out of bounds on long fields.

Source: http://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.directions import orthonormal
from lungdet.io.file_image import FileImage
from lungdet.io.inflate import inflate
from lungdet.io.limits import MAX_HEADER, check_grid, check_origin
from lungdet.io.numbers import numbers_of

TYPES = {
    **dict.fromkeys(('char', 'int8', 'int8_t', 'signed char'), 'i1'),
    **dict.fromkeys(('uchar', 'uint8', 'uint8_t', 'unsigned char'), 'u1'),
    **dict.fromkeys(
        ('short', 'short int', 'signed short', 'int16', 'int16_t'), 'i2'
    ),
    **dict.fromkeys(('ushort', 'unsigned short', 'uint16', 'uint16_t'), 'u2'),
    **dict.fromkeys(('int', 'signed int', 'int32', 'int32_t'), 'i4'),
    **dict.fromkeys(('uint', 'unsigned int', 'uint32', 'uint32_t'), 'u4'),
    **dict.fromkeys(
        ('longlong', 'long long', 'signed long long', 'int64', 'int64_t'),
        'i8',
    ),
    **dict.fromkeys(
        ('ulonglong', 'unsigned long long', 'uint64', 'uint64_t'), 'u8'
    ),
    'float': 'f4',
    'double': 'f8',
}
# signs that turn a space's axes into left, posterior, superior
SPACES = {
    'left-posterior-superior': (1, 1, 1),
    'lps': (1, 1, 1),
    'right-anterior-superior': (-1, -1, 1),
    'ras': (-1, -1, 1),
    'left-anterior-superior': (1, -1, 1),
    'las': (1, -1, 1),
}
UNKNOWN_SPACES = (
    '',
    'scanner-xyz',
    '3d-right-handed',
    '3d-left-handed',
)
ENCODINGS = {'raw': 'raw', 'gzip': 'gzip', 'gz': 'gzip'}
# fields of the format, without spaces; any other name is an error
FIELDS = {
    'blocksize',
    'byteskip',
    'centerings',
    'centers',
    'content',
    'datafile',
    'dimension',
    'encoding',
    'endian',
    'kinds',
    'labels',
    'lineskip',
    'axismaxs',
    'axismins',
    'max',
    'measurementframe',
    'min',
    'number',
    'oldmax',
    'oldmin',
    'sampleunits',
    'sizes',
    'space',
    'spacedimension',
    'spacedirections',
    'spaceorigin',
    'spaceunits',
    'spacings',
    'thicknesses',
    'type',
    'units',
}
VECTOR = re.compile(r'\(([^()]*)\)')


def read_nrrd(path: Path) -> FileImage:
    """Read a NRRD file of one 3D channel.

    Args:
        path: ``.nrrd``, header and voxels in one file, raw or gzip.

    Raises:
        SeriesError: Header or voxels that cannot be right.
    """
    fields, start = _fields(path)
    _check_unsupported(path, fields)
    dtype, sizes = _layout(path, fields)
    geometry, caveats = _geometry(path, fields, sizes, dtype.itemsize)
    need = math.prod(sizes) * dtype.itemsize
    raw = _voxels(path, _encoding(path, fields), start, need)
    array = np.frombuffer(raw, dtype).reshape(geometry.shape)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder('='))
    return FileImage(str(path), array, geometry, tuple(caveats))


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Header fields, names without spaces, and the byte after the header."""
    with open(path, 'rb') as file:
        head = file.read(MAX_HEADER)
    end = re.search(rb'\r?\n\r?\n', head)
    if end is None or not re.match(rb'NRRD000[1-5]\r?\n', head):
        raise SeriesError(
            f'{path}: no NRRD header in the first {MAX_HEADER} bytes; copy '
            'or export the image again.'
        )
    fields: dict[str, str] = {}
    text = head[: end.start()].decode('utf-8', errors='replace')
    for number, line in enumerate(re.split(r'\r?\n', text)[1:], start=2):
        key, colon, value = line.partition(':')
        if line.startswith('#') or (colon and value.startswith('=')):
            continue
        key = key.replace(' ', '').lower()
        if not colon or key not in FIELDS:
            raise SeriesError(
                f'{path}: line {number} is not a field of a NRRD header; '
                'correct it, or export the image again.'
            )
        if key in fields:
            raise SeriesError(
                f'{path}: {key} appears twice in the header; remove one.'
            )
        fields[key] = value.strip()
    return fields, end.end()


def _check_unsupported(path: Path, fields: dict[str, str]) -> None:
    if 'datafile' in fields:
        raise SeriesError(
            f'{path}: the voxels are in another file (data file), which is '
            'not read; store header and voxels in one file.'
        )
    for key in ('byteskip', 'lineskip'):
        skip = fields.get(key, '0')
        if skip != '0':
            raise SeriesError(
                f'{path}: {key} is {skip[:60]!r}; only voxels right after '
                'the header are read. Export the image again.'
            )
    for key in ('spaceunits', 'units'):
        units = set(re.findall(r'"([^"]*)"', fields.get(key, '')))
        if units - {'mm', 'millimeter', 'millimeters', ''}:
            raise SeriesError(
                f'{path}: {key} are {fields[key][:60]!r}; only mm are read. '
                'Export the image in mm.'
            )


def _layout(path: Path, fields: dict[str, str]) -> tuple[np.dtype, list[int]]:
    """Voxel type, and number of voxels along (x, y, z)."""
    kind = fields.get('type', '').lower()
    if kind not in TYPES:
        raise SeriesError(
            f'{path}: NRRD type {kind[:60]!r} is not supported; store '
            'integers or floats.'
        )
    sizes = numbers_of(fields.get('sizes', ''), int)
    if sizes is None:
        raise SeriesError(
            f'{path}: sizes is {fields.get("sizes", "")[:60]!r}, which gives '
            'no numbers of voxels; correct the header.'
        )
    if fields.get('dimension') != str(len(sizes)):
        raise SeriesError(
            f'{path}: dimension is {fields.get("dimension", "")[:60]!r} and '
            f'sizes has {len(sizes)} numbers; correct the header.'
        )
    dtype = np.dtype(TYPES[kind])
    if dtype.itemsize == 1:
        return dtype, sizes
    endian = fields.get('endian', '').lower()
    if endian not in ('little', 'big'):
        raise SeriesError(
            f'{path}: endian is {endian[:60]!r}, not little or big; the '
            "voxels' bytes have no order. Export the image again."
        )
    return dtype.newbyteorder('<' if endian == 'little' else '>'), sizes


def _geometry(
    path: Path, fields: dict[str, str], sizes: list[int], itemsize: int
) -> tuple[Geometry, list[str]]:
    """The grid in LPS, and caveats."""
    vectors = _vectors(path, fields, len(sizes))
    spacing = [float(np.linalg.norm(v)) for v in vectors]
    check_grid(str(path), sizes, spacing, itemsize)
    space = fields.get('space', '').lower()
    if space not in SPACES and space not in UNKNOWN_SPACES:
        raise SeriesError(
            f'{path}: space is {space[:60]!r}; a scan lies in a patient, as '
            f'in one of {[*SPACES]}. Export the image again.'
        )
    if fields.get('spacedimension', '3') != '3':
        raise SeriesError(
            f'{path}: space dimension is {fields["spacedimension"][:60]!r}, '
            'not 3; export one 3D channel.'
        )
    caveats = []
    if space not in SPACES:
        caveats.append(
            f'no patient space in the header (space is {space!r}); taken as '
            'LPS'
        )
    if 'spaceorigin' not in fields:
        caveats.append('no space origin in the header; taken as 0')
    signs = np.array(SPACES.get(space, (1, 1, 1)), dtype=np.float64)
    origin = _origin(path, fields) * signs + 0.0
    check_origin(str(path), origin.tolist())
    # the file lists the axes' vectors: rows here, columns in D
    cosines = (vectors * signs / np.array(spacing)[:, None]).T
    direction, of_directions = orthonormal(str(path), cosines)
    try:
        geometry = Geometry.from_itk(
            sizes,
            spacing=spacing,
            origin=origin.tolist(),
            direction=direction + 0.0,
        )
    except GeometryError as error:
        raise SeriesError(f'{path}: {error}') from error
    return geometry, [*caveats, *of_directions]


def _vectors(path: Path, fields: dict[str, str], axes: int) -> np.ndarray:
    """Step of each axis, rows (axes, 3) in mm of the stated space."""
    steps = None
    if 'spacings' in fields or 'spacedirections' not in fields:
        text = fields.get('spacings', '')
        steps = numbers_of(text, float)
        if steps is None or len(steps) != axes:
            raise SeriesError(
                f'{path}: spacings is {text[:60]!r}, which gives no size in '
                f'mm for each of {axes} axes; correct the header.'
            )
    if 'spacedirections' not in fields:
        if fields.get('space', '').lower() not in (*UNKNOWN_SPACES, 'lps'):
            _refuse_space_without_directions(path, fields)
        return np.diag(steps or ()) if axes == 3 else np.zeros((axes, 3))
    text = fields['spacedirections']
    vectors = _parsed_vectors(text)
    if vectors is None or len(vectors) != axes:
        raise SeriesError(
            f'{path}: space directions is {text[:60]!r}, not 3 vectors of '
            f'mm for {axes} axes; expected one 3D channel. Export the CT '
            'values alone.'
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if steps is not None and not np.allclose(steps, lengths, rtol=1e-3):
        raise SeriesError(
            f'{path}: spacings say {steps} mm and space directions '
            f'{lengths.tolist()}; correct the header.'
        )
    return vectors


def _refuse_space_without_directions(
    path: Path, fields: dict[str, str]
) -> None:
    if fields['space'].lower() == 'left-posterior-superior':
        return
    raise SeriesError(
        f'{path}: space is {fields["space"][:60]!r}, and space directions '
        'are missing; which way the axes run is unknown. Export the image '
        'again.'
    )


def _origin(path: Path, fields: dict[str, str]) -> np.ndarray:
    """The first voxel's centre in the stated space, 0 if absent."""
    if 'spaceorigin' not in fields:
        return np.zeros(3)
    vectors = _parsed_vectors(fields['spaceorigin'])
    if vectors is None or len(vectors) != 1:
        raise SeriesError(
            f'{path}: space origin is {fields["spaceorigin"][:60]!r}, not a '
            'vector of 3 numbers; correct the header.'
        )
    return vectors[0]


def _parsed_vectors(text: str) -> np.ndarray | None:
    """Vectors (n, 3) of ``(a,b,c) (d,e,f) ...``; None for other text."""
    if VECTOR.sub('', text).strip():
        return None
    vectors = [numbers_of(v, float, ',') for v in VECTOR.findall(text)]
    if not vectors or not all(v is not None and len(v) == 3 for v in vectors):
        return None
    return np.array(vectors)


def _encoding(path: Path, fields: dict[str, str]) -> str:
    name = fields.get('encoding', '').lower()
    if name not in ENCODINGS:
        raise SeriesError(
            f'{path}: encoding {name[:60]!r} is not read; store the voxels '
            'raw or with gzip.'
        )
    return ENCODINGS[name]


def _voxels(path: Path, encoding: str, start: int, need: int) -> bytearray:
    """Voxel bytes, exactly as many as the header states."""
    with open(path, 'rb') as file:
        size = file.seek(0, 2) - start
        file.seek(start)
        if encoding == 'gzip':
            return inflate(file, need, str(path))
        if size != need:
            raise SeriesError(
                f'{path}: {size} bytes of voxels, the header promises '
                f'{need}; the file is cut, or the header is wrong. Copy it '
                'again.'
            )
        voxels = bytearray(need)
        file.readinto(voxels)
        return voxels
