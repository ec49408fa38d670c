"""MetaImage (.mhd with .raw or .zraw, .mha) to arrays and back.

These are not read by SimpleITK, which silently accepts damaged or hostile
files (other files' bytes, uninitialised memory, swapped spacings). Each of
these is refused here with a message.
"""

from __future__ import annotations

import difflib
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.atomic import atomic_path
from lungdet.io.directions import orthonormal
from lungdet.io.file_image import FileImage
from lungdet.io.files import check_regular
from lungdet.io.inflate import inflate
from lungdet.io.limits import MAX_HEADER, check_grid, check_origin
from lungdet.io.numbers import numbers_of

ELEMENT_TYPES = {
    'MET_CHAR': 'i1',
    'MET_UCHAR': 'u1',
    'MET_SHORT': 'i2',
    'MET_USHORT': 'u2',
    'MET_INT': 'i4',
    'MET_UINT': 'u4',
    'MET_FLOAT': 'f4',
    'MET_DOUBLE': 'f8',
}
NO_OFFSET = 'no Offset in the header; the origin was taken as 0'
MISSPELT = 0.8  # similarity from which a known name was meant


def _numbers(count: int, kind: type = float) -> Callable[[str], list]:
    def parse(text: str) -> list:
        values = numbers_of(text, kind)
        if values is None or len(values) != count:
            raise ValueError
        return values

    return parse


def _number(kind: type) -> Callable[[str], Any]:
    return lambda text: _numbers(1, kind)(text)[0]


def _boolean(text: str) -> bool:
    return {'true': True, 'false': False}[text.lower()]


def _unit(text: str) -> str:
    return 'mm' if text in ('MM', '?') else text


class Field(NamedTuple):
    """How a header field is read.

    Attributes:
        parse: Converts text to the value; raises for invalid text.
        what: What it must be, in words.
        absent: Its value if the header lacks it; None if it is required.
    """

    parse: Callable[[str], Any]
    what: str
    absent: Any = None


FIELDS = {
    'NDims': Field(_number(int), 'a whole number'),
    'ElementNumberOfChannels': Field(_number(int), 'a whole number', 1),
    'DimSize': Field(_numbers(3, int), '3 whole numbers'),
    'ElementSpacing': Field(_numbers(3), '3 numbers'),
    'Offset': Field(_numbers(3), '3 numbers', (0.0, 0.0, 0.0)),
    'TransformMatrix': Field(_numbers(9), '9 numbers', np.eye(3).ravel()),
    'ElementType': Field(
        ELEMENT_TYPES.__getitem__, f'one of {[*ELEMENT_TYPES]}'
    ),
    'ElementToIntensityFunctionSlope': Field(_number(float), 'a number', 1.0),
    'ElementToIntensityFunctionOffset': Field(_number(float), 'a number', 0.0),
    'BinaryData': Field(_boolean, 'True or False', True),
    'BinaryDataByteOrderMSB': Field(_boolean, 'True or False', False),
    'CompressedData': Field(_boolean, 'True or False', False),
    'HeaderSize': Field(_number(int), 'a whole number', 0),
    'DistanceUnits': Field(_unit, 'a unit', 'mm'),
    'ElementDataFile': Field(str, 'a file name'),
}
SYNONYMS = {
    'ElementSize': 'ElementSpacing',
    'Position': 'Offset',
    'Origin': 'Offset',
    'Orientation': 'TransformMatrix',
    'Rotation': 'TransformMatrix',
    'ElementByteOrderMSB': 'BinaryDataByteOrderMSB',
}
# fields of the format that have no meaning here
IGNORED = (
    'AnatomicalOrientation',
    'CenterOfRotation',
    'Comment',
    'CompressedDataSize',
    'CompressionLevel',
    'ElementNBits',
    'ElementSizeValid',
    'HeaderSizePerSlice',
    'ObjectSubType',
    'ObjectType',
)
# other values are ignored by other loaders, or are not one channel of CT
ONLY = {
    'NDims': 3,
    'ElementNumberOfChannels': 1,
    'ElementToIntensityFunctionSlope': 1.0,
    'ElementToIntensityFunctionOffset': 0.0,
    'BinaryData': True,
    'DistanceUnits': 'mm',
}


@dataclass(frozen=True)
class Header:
    """A header's values.

    Attributes:
        values: Values of every name in ``FIELDS``.
        given: Names in the header, synonyms resolved.
        end: The byte after the header.
    """

    values: dict[str, Any]
    given: frozenset[str]
    end: int

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def read_metaimage(path: Path) -> FileImage:
    """Read a MetaImage of one 3D channel.

    Args:
        path: ``.mhd`` or ``.mha``.

    Raises:
        SeriesError: Header or voxels that cannot be right.
    """
    header = _parse(path)
    size, spacing = header['DimSize'], header['ElementSpacing']
    dtype = np.dtype(header['ElementType'])
    check_grid(str(path), size, spacing, dtype.itemsize)
    check_origin(str(path), header['Offset'])
    # the file lists the axes' vectors: rows here, columns in D
    cosines = np.reshape(header['TransformMatrix'], (3, 3)).T
    direction, caveats = orthonormal(str(path), cosines)
    try:
        geometry = Geometry.from_itk(
            size,
            spacing=spacing,
            origin=header['Offset'],
            direction=direction,
        )
    except GeometryError as error:
        raise SeriesError(f'{path}: {error}') from error
    raw = _voxels(path, header, math.prod(size) * dtype.itemsize)
    array = np.frombuffer(raw, dtype=dtype).reshape(geometry.shape)
    if header['BinaryDataByteOrderMSB']:
        array.byteswap(inplace=True)
    if 'Offset' not in header.given:
        caveats.append(NO_OFFSET)
    return FileImage(str(path), array, geometry, tuple(caveats))


def data_file(path: Path) -> Path:
    """The file with the voxels of a header; ``path`` itself for LOCAL ones.

    Raises:
        SeriesError: As ``read_metaimage``, of the header.
    """
    header = _parse(path)
    return _data_file(path, header['ElementDataFile'])


def write_mhd(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    """Write a header and its ``.zraw`` beside it, each atomically."""
    raw = path.with_suffix('.zraw')
    kinds = {code: name for name, code in ELEMENT_TYPES.items()}
    payload = zlib.compress(np.ascontiguousarray(array).tobytes(), 1)
    with atomic_path(raw) as aside:
        aside.write_bytes(payload)

    def numbers(values: Any) -> str:
        return ' '.join(f'{float(v):.10g}' for v in values)

    lines = [
        'ObjectType = Image',
        'NDims = 3',
        'BinaryData = True',
        'BinaryDataByteOrderMSB = False',
        'CompressedData = True',
        f'CompressedDataSize = {len(payload)}',
        f'TransformMatrix = {numbers(geometry.direction.T.ravel())}',
        f'Offset = {numbers(geometry.origin)}',
        f'ElementSpacing = {numbers(geometry.spacing_xyz)}',
        f'DimSize = {" ".join(map(str, geometry.size_xyz))}',
        f'ElementType = {kinds[array.dtype.str[1:]]}',
        f'ElementDataFile = {raw.name}',
    ]
    with atomic_path(path) as aside:
        # as bytes: Windows would write other line ends
        aside.write_bytes(('\n'.join(lines) + '\n').encode('utf-8'))


def _parse(path: Path) -> Header:
    """Read a header.

    Raises:
        SeriesError: A field that is absent, unreadable or not supported.
    """
    texts, end = _texts(path)
    _check_names(path, texts)
    for synonym, name in SYNONYMS.items():
        if synonym not in texts:
            continue
        first = texts.setdefault(name, texts[synonym])
        # an element's size may differ from its spacing
        if (
            first.split() != texts[synonym].split()
            and name != 'ElementSpacing'
        ):
            raise SeriesError(
                f'{path}: {name} is {_short(first)} and {synonym} '
                f'{_short(texts[synonym])}, which are one field; remove one.'
            )
    values: dict[str, Any] = {}
    for name, field in FIELDS.items():
        text = texts.get(name)
        if text is None and field.absent is None:
            raise SeriesError(
                f'{path}: {name} is missing; without it the voxels cannot be '
                'placed. Export the image again.'
            )
        try:
            values[name] = field.absent if text is None else field.parse(text)
        except (KeyError, OverflowError, ValueError) as error:
            raise SeriesError(
                f'{path}: {name} = {_short(text)} is not {field.what}; '
                'correct the header, or export the image again.'
            ) from error
        if name in ONLY and values[name] != ONLY[name]:
            raise SeriesError(
                f'{path}: {name} is {(text or "")[:60]} (DimSize '
                f'{texts.get("DimSize", "absent")[:60]}); only {ONLY[name]} '
                'is read, one 3D channel of binary HU. Export it that way.'
            )
    return Header(values, frozenset(texts), end)


def _short(text: str | None) -> str:
    """A field's text as a message quotes it."""
    return repr((text or '')[:60])


def _check_names(path: Path, texts: dict[str, str]) -> None:
    """Refuse a misspelt name: its value would count as absent."""
    known = [*FIELDS, *SYNONYMS]
    for name in texts:
        if name in known or name in IGNORED:
            continue
        near = difflib.get_close_matches(name[:60], known, 1, MISSPELT)
        if near:
            raise SeriesError(
                f'{path}: {_short(name)} in the header is not a field, and '
                f'{near[0]} is one; correct the name.'
            )


def _texts(path: Path) -> tuple[dict[str, str], int]:
    """Header lines as text, and the byte after the header."""
    with open(path, 'rb') as file:
        head = file.read(MAX_HEADER)
    texts: dict[str, str] = {}
    start = 0
    while start < len(head):
        stop = head.find(b'\n', start)
        stop = len(head) if stop < 0 else stop
        line = head[start:stop].decode('utf-8', errors='replace').strip()
        start = stop + 1
        key, sign, value = line.partition('=')
        key = key.strip()
        if line and not sign:
            break
        if key in texts and key in (*FIELDS, *SYNONYMS):
            raise SeriesError(
                f'{path}: {key} appears twice in the header; remove one.'
            )
        texts[key] = value.strip()
        if key == 'ElementDataFile':
            return texts, start
    raise SeriesError(
        f'{path}: no ElementDataFile in the first {MAX_HEADER} bytes; this '
        'is not a whole MetaImage header. Copy the file again, or export the '
        'image as .mhd or .mha.'
    )


def _data_file(path: Path, name: str) -> Path:
    """The voxels' file in the header's own folder.

    A link there is followed, because data managers keep files elsewhere and
    link them. The text of the header cannot lead out of the folder, and no
    message quotes it, since it may name a patient.
    """
    if name.upper() == 'LOCAL' and path.suffix.lower() == '.mha':
        return path
    if name.upper() == 'LOCAL' or name.split()[:1] == ['LIST'] or '%' in name:
        raise SeriesError(
            f'{path}: ElementDataFile is LOCAL in a .mhd, a LIST or a '
            'pattern, which are not supported; store the voxels in one file '
            'beside the header.'
        )
    if (
        Path(name).name != name
        or set(name) & set('\\:\0')
        or name in ('.', '..', '')
    ):
        raise SeriesError(
            f"{path}: ElementDataFile must be a file name in the header's "
            'folder; move the file there, and correct the header.'
        )
    raw = path.parent / name
    try:
        check_regular(raw)
    except (SeriesError, OSError) as error:
        raise SeriesError(
            f'{path}: the file that ElementDataFile names is not a regular '
            "file in the header's folder; copy it there."
        ) from error
    return raw


def _voxels(path: Path, header: Header, need: int) -> bytearray:
    """Voxel bytes, exactly as many as the header states."""
    raw = _data_file(path, header['ElementDataFile'])
    size = raw.stat().st_size
    skip = header['HeaderSize']
    start = header.end if raw == path else 0
    if skip < -1:
        raise SeriesError(
            f'{path}: HeaderSize is {skip}; it is -1 or a number of bytes. '
            'Correct the header.'
        )
    with open(raw, 'rb') as file:
        if header['CompressedData']:
            file.seek(start + max(skip, 0))
            return inflate(file, need, str(path))
        start = size - need if skip == -1 else start + skip
        if start < 0 or size - start != need:
            raise SeriesError(
                f'{path}: {size - max(start, 0)} bytes of voxels, the header '
                f'promises {need}; header and file do not belong together. '
                'Copy both again.'
            )
        voxels = bytearray(need)
        file.seek(start)
        file.readinto(voxels)
        return voxels
