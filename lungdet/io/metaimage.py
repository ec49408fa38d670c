"""MetaImage (.mhd with .raw or .zraw, .mha) to arrays and back.

lungdet reads them itself: SimpleITK reads damaged or hostile files without a
word (other files' bytes, uninitialised memory, swapped spacings). Each of
these is refused here with a message.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.atomic import atomic_path
from lungdet.io.file_image import FileImage
from lungdet.io.limits import MAX_HEADER, check_grid

META_TYPES = {
    'MET_CHAR': 'i1',
    'MET_UCHAR': 'u1',
    'MET_SHORT': 'i2',
    'MET_USHORT': 'u2',
    'MET_INT': 'i4',
    'MET_UINT': 'u4',
    'MET_FLOAT': 'f4',
    'MET_DOUBLE': 'f8',
}
ONCE = ('DimSize', 'ElementSpacing', 'ElementDataFile')
NO_OFFSET = 'no Offset in the header; the origin was taken as 0'
CHUNK = 1 << 22  # bytes taken from the decompressor at a time


def _numbers(count: int, kind: type = float) -> Callable[[str], list]:
    def parse(text: str) -> list:
        values = [kind(word) for word in text.split()]
        if len(values) != count or not all(map(math.isfinite, values)):
            raise ValueError
        return values

    return parse


def _boolean(text: str) -> bool:
    return {'true': True, 'false': False}[text.lower()]


class Field(NamedTuple):
    """How a header's field is read.

    Attributes:
        parse: Text to value; raises for what it cannot be.
        what: What it must be, in words.
        absent: Its value where the header lacks it; None if it must not.
    """

    parse: Callable[[str], Any]
    what: str
    absent: Any = None


FIELDS = {
    'NDims': Field(int, 'a whole number'),
    'ElementNumberOfChannels': Field(int, 'a whole number', 1),
    'DimSize': Field(_numbers(3, int), '3 whole numbers'),
    'ElementSpacing': Field(_numbers(3), '3 numbers'),
    'Offset': Field(_numbers(3), '3 numbers', (0.0, 0.0, 0.0)),
    'TransformMatrix': Field(_numbers(9), '9 numbers', np.eye(3).ravel()),
    'ElementType': Field(META_TYPES.__getitem__, f'one of {[*META_TYPES]}'),
    'ElementToIntensityFunctionSlope': Field(float, 'a number', 1.0),
    'ElementToIntensityFunctionOffset': Field(float, 'a number', 0.0),
    'BinaryData': Field(_boolean, 'True or False', True),
    'BinaryDataByteOrderMSB': Field(_boolean, 'True or False', False),
    'CompressedData': Field(_boolean, 'True or False', False),
    'HeaderSize': Field(int, 'a whole number', 0),
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
# other values are ignored by other readers, or are not one channel of CT
ONLY = {
    'NDims': 3,
    'ElementNumberOfChannels': 1,
    'ElementToIntensityFunctionSlope': 1.0,
    'ElementToIntensityFunctionOffset': 0.0,
    'BinaryData': True,
}


@dataclass(frozen=True)
class Header:
    """A header's values.

    Attributes:
        values: Of every name in ``FIELDS``.
        given: Names that the header states, synonyms resolved.
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
    try:
        geometry = Geometry.from_itk(
            size,
            spacing=spacing,
            origin=header['Offset'],
            # the file lists the axes' vectors: rows here, columns in D
            direction=np.reshape(header['TransformMatrix'], (3, 3)).T,
        )
    except GeometryError as error:
        raise SeriesError(f'{path}: {error}') from error
    raw = _voxels(path, header, math.prod(size) * dtype.itemsize)
    array = np.frombuffer(raw, dtype=dtype).reshape(geometry.shape)
    if header['BinaryDataByteOrderMSB']:
        array.byteswap(inplace=True)
    caveats = () if 'Offset' in header.given else (NO_OFFSET,)
    return FileImage(str(path), array, geometry, caveats)


def data_file(path: Path) -> Path:
    """The file with the voxels of a header; ``path`` itself for LOCAL ones.

    Raises:
        SeriesError: As ``read_metaimage``, of the header.
    """
    return _data_file(path, _parse(path)['ElementDataFile'])


def write_mhd(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    """Write a header and its ``.zraw`` beside it, each atomically."""
    raw = path.with_suffix('.zraw')
    kinds = {code: name for name, code in META_TYPES.items()}
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
        aside.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _parse(path: Path) -> Header:
    """Read a header.

    Raises:
        SeriesError: A field that is absent, unreadable or not supported.
    """
    texts, end = _texts(path)
    for synonym, name in SYNONYMS.items():
        if synonym in texts:
            texts.setdefault(name, texts[synonym])
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
                f'{path}: {name} = {text!r} is not {field.what}; correct the '
                'header, or export the image again.'
            ) from error
        if name in ONLY and values[name] != ONLY[name]:
            raise SeriesError(
                f'{path}: {name} is {text} (DimSize '
                f'{texts.get("DimSize")}); only {ONLY[name]} is read, one 3D '
                'channel of binary HU. Export it that way.'
            )
    return Header(values, frozenset(texts), end)


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
        if key in texts and key in ONCE:
            raise SeriesError(
                f'{path}: {key} stands twice in the header; remove one.'
            )
        texts[key] = value.strip()
        if key == 'ElementDataFile':
            return texts, start
    raise SeriesError(
        f'{path}: no ElementDataFile in the first {MAX_HEADER} bytes; this '
        'is not a MetaImage header.'
    )


def _data_file(path: Path, name: str) -> Path:
    """The voxels' file: a plain file in the header's own folder."""
    if name.upper() == 'LOCAL' and path.suffix.lower() == '.mha':
        return path
    if name.upper() == 'LOCAL' or name.split()[:1] == ['LIST'] or '%' in name:
        raise SeriesError(
            f'{path}: ElementDataFile {name!r} is not supported; store the '
            'voxels in one file beside the header.'
        )
    if (
        Path(name).name != name
        or '\\' in name
        or ':' in name
        or name in ('.', '..', '')
    ):
        raise SeriesError(
            f"{path}: ElementDataFile must be a file name in the header's "
            f'folder, got {name!r}; move the file there.'
        )
    raw = path.parent / name
    if raw.resolve().parent != path.parent.resolve() or not raw.is_file():
        raise SeriesError(
            f'{path}: ElementDataFile {name!r} is not a regular file in the '
            "header's folder; copy it there."
        )
    return raw


def _voxels(path: Path, header: Header, need: int) -> bytearray:
    """Voxel bytes, exactly as many as the header promises."""
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
            return inflate(file, need, str(raw))
        start = size - need if skip == -1 else start + skip
        if start < 0 or size - start != need:
            raise SeriesError(
                f'{raw}: {size - max(start, 0)} bytes of voxels, the header '
                f'promises {need}; header and file do not belong together. '
                'Copy both again.'
            )
        voxels = bytearray(need)
        file.seek(start)
        file.readinto(voxels)
        return voxels


def inflate(file: BinaryIO, need: int, where: str) -> bytearray:
    """Decompress zlib or gzip data to exactly ``need`` bytes.

    Raises:
        SeriesError: Damaged data, or more or fewer bytes.
    """
    decoder = zlib.decompressobj(wbits=47)  # zlib or gzip, as it says
    voxels, got = bytearray(need), 0
    try:
        while got <= need and not decoder.eof:
            chunk = decoder.unconsumed_tail or file.read(1 << 20)
            part = decoder.decompress(chunk, min(need + 1 - got, CHUNK))
            if not chunk and not part:
                break
            if got + len(part) <= need:
                voxels[got : got + len(part)] = part
            got += len(part)
    except zlib.error as error:
        raise SeriesError(
            f'{where}: compressed data is damaged ({error}); copy the file '
            'again.'
        ) from error
    if got != need or not decoder.eof:
        more = 'more' if got > need else 'less'
        raise SeriesError(
            f"{where}: compressed data gives {more} than the header's {need} "
            'bytes; header and file do not belong together.'
        )
    return voxels
