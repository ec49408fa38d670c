"""MetaImage, NIfTI and NRRD to arrays and back.

MetaImage has its own reader: SimpleITK reads damaged or hostile MetaImage
files without a word (other files' bytes, uninitialised memory, swapped
spacings), each case of which is refused here with a message.
"""

from __future__ import annotations

import gzip
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.atomic import atomic_path
from lungdet.io.limits import MAX_HEADER, check_grid
from lungdet.structures import HU_MIN, Volume

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
NIFTI_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32}
SUFFIXES = ('.mhd', '.mha', '.nii', '.nii.gz', '.nrrd')
AXIS_TOL = 1e-4  # a direction this near to an axis is that axis
NAN_SHARE = 1e-3  # more missing voxels than this are an error


def stem(path: str | Path) -> str:
    """File name without the image suffix; the series uid of LUNA16 files."""
    name = Path(path).name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def load_volume(
    path: str | Path,
    *,
    series_uid: str | None = None,
    hu_offset: int | None = None,
) -> Volume:
    """Read a CT from an image file or a folder with a DICOM series.

    Args:
        path: ``.mhd``, ``.mha``, ``.nii``, ``.nii.gz``, ``.nrrd``, or a
            folder.
        series_uid: Which series, if a folder holds several.
        hu_offset: HU of a stored 0, for files that lack it.

    Returns:
        int16 HU as the file has them, turned to identity direction where
        the axes are a permutation or mirror image of it.

    Raises:
        SeriesError: Not readable as one CT volume; says file and reason.
        FileNotFoundError: Nothing at ``path``.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: not there; check the path.')
    if path.is_dir():
        from lungdet.io.dicom import load_dicom_series

        return load_dicom_series(
            path, series_uid=series_uid, hu_offset=hu_offset
        )
    array, geometry = read_image(path)
    warnings: list[str] = []
    hu = to_hu(array, str(path), warnings, hu_offset=hu_offset)
    return canonical(Volume(hu, geometry, stem(path), warnings))


def read_image(path: str | Path) -> tuple[np.ndarray, Geometry]:
    """Read any 3D image, such as a mask, in the file's type.

    Returns:
        Array (z, y, x) and its geometry, not turned.

    Raises:
        SeriesError: As ``load_volume``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: not a file; check the path.')
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise SeriesError(
            f'{path}: unknown image type; lungdet reads {", ".join(SUFFIXES)} '
            'and DICOM folders.'
        )
    if path.stat().st_size == 0:
        raise SeriesError(f'{path}: the file is empty; copy it again.')
    if name.endswith(('.mhd', '.mha')):
        return _read_meta(path)
    if name.endswith(('.nii', '.nii.gz')):
        _check_nifti(path)
    return _read_itk(path)


def to_hu(
    array: np.ndarray,
    where: str,
    warnings: list[str],
    *,
    hu_offset: int | None = None,
) -> np.ndarray:
    """int16 HU of an array, if its values can be HU.

    Raises:
        SeriesError: Missing values, or stored without the -1024 offset.
    """
    if array.dtype.kind == 'f':
        missing = ~np.isfinite(array)
        if missing.mean() > NAN_SHARE:
            raise SeriesError(
                f'{where}: {missing.mean():.1%} of the voxels are not '
                'numbers; the image is damaged. Export it again.'
            )
        if missing.any():
            warnings.append(
                f'{int(missing.sum())} voxels were not numbers and became '
                f'{HU_MIN} HU'
            )
            array = np.where(missing, HU_MIN, array)
        array = np.rint(array)
    if hu_offset is not None:
        array = array.astype(np.int32) + hu_offset
    sample = array[
        tuple(slice(None, None, max(1, n // 64)) for n in array.shape)
    ]
    low, first = sample.min(), np.percentile(sample, 1)
    if low >= 0 and first <= 50 and sample.max() > 500:
        raise SeriesError(
            f'{where}: values {low:g}..{sample.max():g} look like CT stored '
            'without its offset; give --hu-offset -1024 if that is so.'
        )
    if first > -500:
        warnings.append(
            f'values do not look like a chest in HU ({low:g}..'
            f'{sample.max():g})'
        )
    limits = np.iinfo(np.int16)
    return np.clip(array, limits.min, limits.max).astype(np.int16, copy=False)


def canonical(volume: Volume) -> Volume:
    """Turn axis-parallel volumes to identity direction; keep oblique ones."""
    direction = volume.geometry.direction
    if np.abs(np.abs(direction) - np.rint(np.abs(direction))).max() > AXIS_TOL:
        return volume
    # array axis k shows world axis order z, y, x = 2, 1, 0
    steps = np.rint(volume.geometry.affine[:3, :3] / volume.geometry.spacing)
    axes = [int(np.abs(steps[world]).argmax()) for world in (2, 1, 0)]
    geometry = volume.geometry.transpose(axes)
    array = volume.array.transpose(axes)
    for axis in range(3):
        if geometry.affine[2 - axis, axis] < 0:
            geometry = geometry.flip(axis)
            array = np.flip(array, axis)
    if (
        array is volume.array
        or axes == [0, 1, 2]
        and (array.strides == volume.array.strides)
    ):
        return volume
    return Volume(
        np.ascontiguousarray(array),
        geometry,
        volume.series_uid,
        volume.warnings,
        source_geometry=volume.geometry,
    )


def write_image(
    path: str | Path, array: np.ndarray, geometry: Geometry
) -> None:
    """Write an image atomically; the suffix picks the format.

    Compressed where the format can; a ``.mhd`` gets its ``.zraw`` beside it.
    """
    import SimpleITK as sitk

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.mhd':
        _write_mhd(path, array, geometry)
        return
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([float(v) for v in geometry.spacing[::-1]])
    image.SetOrigin([float(v) for v in geometry.origin])
    image.SetDirection([float(v) for v in geometry.direction.ravel()])
    with atomic_path(path) as aside:
        sitk.WriteImage(image, str(aside), useCompression=True)


def _write_mhd(path: Path, array: np.ndarray, geometry: Geometry) -> None:
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
        f'ElementSpacing = {numbers(geometry.spacing[::-1])}',
        f'DimSize = {" ".join(str(n) for n in array.shape[::-1])}',
        f'ElementType = {kinds[array.dtype.str[1:]]}',
        f'ElementDataFile = {raw.name}',
    ]
    with atomic_path(path) as aside:
        aside.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _read_meta(path: Path) -> tuple[np.ndarray, Geometry]:
    fields, end = _meta_fields(path)
    shape = [int(v) for v in _meta_numbers(path, fields, 'DimSize')]
    if 'ElementSpacing' not in fields and 'ElementSize' in fields:
        fields['ElementSpacing'] = fields['ElementSize']
    spacing = _meta_numbers(path, fields, 'ElementSpacing')
    kind = fields.get('ElementType', '')
    if kind not in META_TYPES:
        raise SeriesError(
            f'{path}: ElementType {kind!r} is not one of '
            f'{", ".join(META_TYPES)}; export the image in one of them.'
        )
    msb = fields.get(
        'BinaryDataByteOrderMSB', fields.get('ElementByteOrderMSB', 'False')
    )
    dtype = np.dtype(
        ('>' if msb.lower() == 'true' else '<') + META_TYPES[kind]
    )
    check_grid(str(path), shape, spacing, dtype.itemsize)
    geometry = _meta_geometry(path, fields, shape, spacing)
    raw = _meta_bytes(path, fields, end, int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(raw, dtype=dtype).reshape(shape[::-1])
    return array.astype(dtype.newbyteorder('='), copy=False), geometry


def _meta_fields(path: Path) -> tuple[dict[str, str], int]:
    """Header fields and the byte after the header."""
    with open(path, 'rb') as file:
        head = file.read(MAX_HEADER)
    fields: dict[str, str] = {}
    place = 0
    while place < len(head):
        stop = head.find(b'\n', place)
        stop = len(head) if stop < 0 else stop
        line = head[place:stop].decode('utf-8', errors='replace').strip()
        place = stop + 1
        key, found, value = line.partition('=')
        if not found:
            if line:
                break
            continue
        key, value = key.strip(), value.strip()
        if key in fields and key in (
            'DimSize',
            'ElementSpacing',
            'ElementDataFile',
        ):
            raise SeriesError(
                f'{path}: {key} stands twice in the header; remove one.'
            )
        fields[key] = value
        if key == 'ElementDataFile':
            _meta_refuse(path, fields)
            return fields, place
    raise SeriesError(
        f'{path}: no ElementDataFile in the first {MAX_HEADER} bytes; this '
        'is not a MetaImage header.'
    )


def _meta_refuse(path: Path, fields: dict[str, str]) -> None:
    """Refuse what SimpleITK would read into a wrong image."""
    if fields.get('NDims') != '3':
        raise SeriesError(
            f'{path}: NDims is {fields.get("NDims")!r} with DimSize '
            f'{fields.get("DimSize")!r}; expected one 3D channel. Export a '
            'single 3D image.'
        )
    if fields.get('ElementNumberOfChannels', '1') != '1':
        raise SeriesError(
            f'{path}: {fields["ElementNumberOfChannels"]} channels; expected '
            'one. Export the CT values alone.'
        )
    slope = fields.get('ElementToIntensityFunctionSlope', '1')
    offset = fields.get('ElementToIntensityFunctionOffset', '0')
    if float(slope) != 1 or float(offset) != 0:
        raise SeriesError(
            f'{path}: ElementToIntensityFunction {slope}, {offset} would be '
            'ignored by other readers; store HU directly.'
        )
    name = fields['ElementDataFile']
    if name == 'LOCAL' and path.suffix.lower() == '.mha':
        return
    if name in ('LOCAL', 'LIST') or '%' in name:
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


def _meta_numbers(
    path: Path, fields: dict[str, str], key: str, count: int = 3
) -> list[float]:
    text = fields.get(key)
    if text is None:
        raise SeriesError(
            f'{path}: {key} is missing; without it the image has no scale. '
            'Export it again.'
        )
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise SeriesError(
            f'{path}: {key} = {text!r} is not {count} numbers; correct the '
            'header.'
        )
    return values


def _meta_geometry(
    path: Path, fields: dict[str, str], shape: list[int], spacing: list[float]
) -> Geometry:
    for key in ('Offset', 'Position', 'Origin'):
        if key in fields:
            origin = _meta_numbers(path, fields, key)
            break
    else:
        origin = [0.0, 0.0, 0.0]
    direction = np.eye(3)
    for key in ('TransformMatrix', 'Orientation', 'Rotation'):
        if key in fields:
            # the file lists the axes' vectors: rows here, columns in D
            direction = np.reshape(
                _meta_numbers(path, fields, key, 9), (3, 3)
            ).T
            break
    try:
        return Geometry.from_parts(
            shape[::-1],
            spacing_zyx=spacing[::-1],
            origin_xyz=origin,
            direction=direction,
        )
    except GeometryError as error:
        raise SeriesError(f'{path}: {error}') from error


def _meta_bytes(
    path: Path, fields: dict[str, str], end: int, need: int
) -> bytes:
    """Voxel bytes, exactly as many as the header promises."""
    name = fields['ElementDataFile']
    raw = path if name == 'LOCAL' else path.parent / name
    size = raw.stat().st_size
    start = end if name == 'LOCAL' else 0
    skip = int(fields.get('HeaderSize', '0'))
    packed = fields.get('CompressedData', 'False').lower() == 'true'
    if packed:
        with open(raw, 'rb') as file:
            file.seek(start + max(skip, 0))
            return inflate(file, need, str(raw))
    start = size - need if skip == -1 else start + skip
    if start < 0 or size - start != need:
        raise SeriesError(
            f'{raw}: {size - max(start, 0)} bytes of voxels, the header '
            f'promises {need}; header and file do not belong together. Copy '
            'both again.'
        )
    with open(raw, 'rb') as file:
        file.seek(start)
        return file.read(need)


def inflate(file: Any, need: int, where: str) -> bytes:
    """Decompress zlib or gzip data to exactly ``need`` bytes.

    Raises:
        SeriesError: Damaged data, or more or fewer bytes.
    """
    decoder = zlib.decompressobj(47)
    parts, got = [], 0
    try:
        while got <= need and not decoder.eof:
            chunk = file.read(1 << 20)
            if not chunk:
                break
            while chunk and got <= need:
                part = decoder.decompress(chunk, need + 1 - got)
                got += len(part)
                parts.append(part)
                chunk = decoder.unconsumed_tail
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
    return b''.join(parts)


def _check_nifti(path: Path) -> None:
    """Compare header and length; SimpleITK reads truncated files silently."""
    packed = path.name.lower().endswith('.gz')
    opened: Any = gzip.open(path, 'rb') if packed else open(path, 'rb')
    try:
        with opened as file:
            head = file.read(352)
            if len(head) < 352:
                raise EOFError('the header is cut')
            order = '<' if struct.unpack('<i', head[:4])[0] == 348 else '>'
            dims = struct.unpack(f'{order}8h', head[40:56])
            kind, bits = struct.unpack(f'{order}2h', head[70:74])
            steps = struct.unpack(f'{order}8f', head[76:108])
            start = int(struct.unpack(f'{order}f', head[108:112])[0])
            sizes = list(dims[1 : dims[0] + 1])
            while len(sizes) > 3 and sizes[-1] == 1:
                sizes.pop()
            if NIFTI_BITS.get(kind) != bits:
                raise SeriesError(
                    f'{path}: NIfTI datatype {kind} is not supported; store '
                    'integers or floats.'
                )
            check_grid(str(path), sizes, steps[1:4], bits // 8)
            need = start + int(np.prod(sizes, dtype=np.int64)) * bits // 8
            got = len(head)
            while chunk := file.read(1 << 22):
                got += len(chunk)
                if got > need + (1 << 22):
                    break
    except (EOFError, OSError, zlib.error) as error:
        raise SeriesError(
            f'{path}: damaged or cut ({error}); copy the file again.'
        ) from error
    if got < need:
        raise SeriesError(
            f'{path}: {got} bytes, the header promises {need}; the file is '
            'cut. Copy it again.'
        )


def _read_itk(path: Path) -> tuple[np.ndarray, Geometry]:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size, spacing = reader.GetSize(), reader.GetSpacing()
        while len(size) > 3 and size[-1] == 1:
            size, spacing = size[:-1], spacing[:-1]
        if reader.GetNumberOfComponents() != 1:
            raise SeriesError(
                f'{path}: {reader.GetNumberOfComponents()} channels; expected '
                'one. Export the CT values alone.'
            )
        check_grid(str(path), size, spacing, 8)
        image = reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SeriesError(
            f'{path}: cannot be read ({reason}); copy or export it again.'
        ) from error
    array = sitk.GetArrayFromImage(image)
    array = array.reshape(array.shape[-3:])
    direction = np.reshape(image.GetDirection(), (-1,))
    rank = round(len(direction) ** 0.5)
    geometry = Geometry.from_parts(
        array.shape,
        spacing_zyx=spacing[2::-1],
        origin_xyz=image.GetOrigin()[:3],
        direction=direction.reshape(rank, rank)[:3, :3],
    )
    if array.dtype.byteorder == ('>' if sys.byteorder == 'little' else '<'):
        array = array.astype(array.dtype.newbyteorder('='))
    return array, geometry


__all__ = [
    'canonical',
    'inflate',
    'load_volume',
    'read_image',
    'stem',
    'to_hu',
    'write_image',
]
