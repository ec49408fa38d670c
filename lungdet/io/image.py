"""Image files to arrays and back.

SimpleITK reads NIfTI and NRRD once their headers were judged here: it takes
cut files, absent spacings and names of other files without a word.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.hounsfield import AIR_HU, HU_MIN
from lungdet.io.atomic import atomic_path
from lungdet.io.limits import MAX_HEADER, check_chest, check_grid
from lungdet.io.metaimage import read_meta, write_mhd
from lungdet.structures import Volume

# by NIfTI's code of the type; 1024 and 1280 are 64-bit integers, as nibabel
# writes numpy's labels
NIFTI_BITS = {
    **{2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32},
    **{1024: 64, 1280: 64},
}
NIFTI_FLOATS = (16, 64)
NIFTI_HEADER = 348  # bytes; the header states them first
NRRD_BYTES = {
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
SUFFIXES = ('.mhd', '.mha', '.nii', '.nii.gz', '.nrrd')
AXIS_TOL = 1e-4  # a direction this near to an axis is that axis
BAD_SHARE = 1e-3  # more voxels without a usable value are an error


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
        hu_offset: Added to values that were stored without their offset.

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
    caveats: list[str] = []
    array, geometry = read_image(path, caveats=caveats)
    hu = to_hu(array, str(path), caveats, hu_offset=hu_offset)
    volume = canonical(Volume(hu, geometry, stem(path), caveats))
    check_chest(str(path), volume.geometry)
    return volume


def read_image(
    path: str | Path, *, caveats: list[str] | None = None
) -> tuple[np.ndarray, Geometry]:
    """Read any 3D image, such as a mask, in the file's type.

    Args:
        path: As ``load_volume``, but no folder.
        caveats: What is doubtful about the header is appended.

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
    doubts = [] if caveats is None else caveats
    if name.endswith(('.mhd', '.mha')):
        return read_meta(path, doubts)
    if name.endswith('.nrrd'):
        _check_nrrd(path, doubts)
        return _read_itk(path)
    missing = _check_nifti(path, doubts)
    array, geometry = _read_itk(path)
    if missing.size:  # SimpleITK made 0 of them, which is water
        array.reshape(-1)[missing] = np.nan
    return array, geometry


def to_hu(
    array: np.ndarray,
    where: str,
    caveats: list[str],
    *,
    hu_offset: int | None = None,
) -> np.ndarray:
    """int16 HU of an array, if its values can be HU.

    The offset is added where the values lack it; values that reach down to
    air in HU stay as they are, and a warning says so.

    Raises:
        SeriesError: Values that are no numbers, no HU, or stored without
            their offset.
    """
    offset = hu_offset or 0
    if offset and np.percentile(_sample(array), 1) <= AIR_HU:
        caveats.append(
            f'the values are HU already; the offset {offset} was not added'
        )
        offset = 0
    hu = _as_int16(array, offset, where, caveats)
    sample = _sample(hu)
    low, first, high = sample.min(), np.percentile(sample, 1), sample.max()
    if low >= 0 and first <= 50 and high > 500:
        raise SeriesError(
            f'{where}: values {low:g}..{high:g} look like CT stored '
            'without its offset; give --hu-offset -1024 if that is so.'
        )
    if first > AIR_HU:
        caveats.append(
            f'values do not look like a chest in HU ({low:g}..{high:g})'
        )
    return hu


def _sample(array: np.ndarray) -> np.ndarray:
    """Some finite values, padding left out where there is more."""
    steps = tuple(slice(None, None, max(1, n // 64)) for n in array.shape)
    values = array[steps]
    values = values[np.isfinite(values)]
    image = values[values >= HU_MIN]
    return image if image.size else np.append(values, HU_MIN)


def _as_int16(
    array: np.ndarray, offset: int, where: str, caveats: list[str]
) -> np.ndarray:
    """Rounded and shifted plane by plane; whole float copies are large."""
    if array.dtype == np.int16 and not offset:
        return array
    limits = np.iinfo(np.int16)
    hu = np.empty(array.shape, dtype=np.int16)
    missing = beyond = 0
    for plane, values in zip(hu, array):
        values = np.rint(values.astype(np.float64) + offset)
        absent = ~np.isfinite(values)
        values[absent] = HU_MIN
        missing += int(absent.sum())
        plane[:] = np.clip(values, limits.min, limits.max)
        beyond += int((plane != values).sum())
    for count, what, became in (
        (missing, 'were not numbers', f'{HU_MIN} HU'),
        (beyond, 'exceed 16 bits', 'the nearest 16-bit value'),
    ):
        if count > BAD_SHARE * array.size:
            raise SeriesError(
                f'{where}: {count} of {array.size} voxels {what}; they are '
                'not HU. Export the image again, in HU.'
            )
        if count:
            caveats.append(f'{count} voxels {what} and became {became}')
    return hu


def canonical(volume: Volume) -> Volume:
    """Turn axis-parallel volumes to identity direction; keep oblique ones."""
    direction = volume.geometry.direction
    if np.abs(np.abs(direction) - np.rint(np.abs(direction))).max() > AXIS_TOL:
        return volume
    # array axis k shows world axis order z, y, x = 2, 1, 0
    steps = np.abs(volume.geometry.affine[:3, :3] / volume.geometry.spacing)
    axes = [int(steps[world].argmax()) for world in (2, 1, 0)]
    geometry = volume.geometry.transpose(axes)
    flips = [k for k in range(3) if geometry.affine[2 - k, k] < 0]
    if axes == [0, 1, 2] and not flips:
        return volume
    for axis in flips:
        geometry = geometry.flip(axis)
    return replace(
        volume,
        array=np.ascontiguousarray(
            np.flip(volume.array.transpose(axes), tuple(flips))
        ),
        geometry=geometry,
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
        write_mhd(path, array, geometry)
        return
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([float(v) for v in geometry.spacing[::-1]])
    image.SetOrigin([float(v) for v in geometry.origin])
    image.SetDirection([float(v) for v in geometry.direction.ravel()])
    with atomic_path(path) as aside:
        sitk.WriteImage(image, str(aside), useCompression=True)


def _check_nifti(path: Path, caveats: list[str]) -> np.ndarray:
    """Compare header and length; SimpleITK reads truncated files silently.

    Returns the places of the values that are no numbers, x fastest.
    """
    packed = path.name.lower().endswith('.gz')
    opened: Any = gzip.open(path, 'rb') if packed else open(path, 'rb')
    missing = [np.empty(0, dtype=np.int64)]
    try:
        with opened as file:
            head = file.read(NIFTI_HEADER)
            start, need, floats = _nifti_layout(path, head, caveats)
            file.seek(start)
            got = 0
            while chunk := file.read(1 << 22):
                if floats is not None:
                    count = min(len(chunk), max(0, need - got))
                    values = np.frombuffer(
                        chunk, floats, count // floats.itemsize
                    )
                    places = np.flatnonzero(~np.isfinite(values))
                    missing.append(places + got // floats.itemsize)
                got += len(chunk)
                if got > need + (1 << 22):
                    break
    except (EOFError, OSError, struct.error, zlib.error) as error:
        raise SeriesError(
            f'{path}: damaged or cut ({error}); copy the file again.'
        ) from error
    if got < need:
        raise SeriesError(
            f'{path}: {got} bytes of voxels, the header promises {need}; the '
            'file is cut. Copy it again.'
        )
    return np.concatenate(missing)


def _nifti_layout(
    path: Path, head: bytes, caveats: list[str]
) -> tuple[int, int, np.dtype | None]:
    """First byte and number of bytes of the voxels; their type if floats."""
    order = '<' if struct.unpack('<i', head[:4])[0] == NIFTI_HEADER else '>'
    dims = struct.unpack(f'{order}8h', head[40:56])
    kind, bits = struct.unpack(f'{order}2h', head[70:74])
    steps = struct.unpack(f'{order}8f', head[76:108])
    (start,) = struct.unpack(f'{order}f', head[108:112])
    forms = struct.unpack(f'{order}2h', head[252:256])
    if NIFTI_BITS.get(kind) != bits:
        raise SeriesError(
            f'{path}: NIfTI datatype {kind} is not supported; store '
            'integers or floats.'
        )
    if not 0 <= start < 1 << 30:
        raise SeriesError(
            f'{path}: vox_offset is {start}, which is no place in the file; '
            'the header is damaged. Export the image again.'
        )
    sizes = list(dims[1 : dims[0] + 1])
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    check_grid(str(path), sizes, steps[1:4], bits // 8)
    if not any(forms):
        caveats.append(
            'no orientation in the header (qform and sform are 0); taken as '
            'LPS with origin 0'
        )
    return (
        max(int(start), NIFTI_HEADER),  # 0 means just behind the header
        math.prod(sizes) * bits // 8,
        np.dtype(f'{order}f{bits // 8}') if kind in NIFTI_FLOATS else None,
    )


def _check_nrrd(path: Path, caveats: list[str]) -> None:
    """Judge the header; SimpleITK takes 1 mm for an absent spacing."""
    fields, start = _nrrd_fields(path)
    name = fields.get('datafile')
    if name is not None:
        raise SeriesError(
            f'{path}: the voxels are in another file ({name!r}), which is '
            'not read; store header and voxels in one file.'
        )
    kind = fields.get('type', '').lower()
    if kind not in NRRD_BYTES:
        raise SeriesError(
            f'{path}: NRRD type {kind!r} is not supported; store integers or '
            'floats.'
        )
    sizes = [int(v) for v in _nrrd_numbers(path, fields, 'sizes')]
    spacing = _nrrd_spacing(path, fields, len(sizes))
    check_grid(str(path), sizes, spacing, NRRD_BYTES[kind])
    need = math.prod(sizes) * NRRD_BYTES[kind]
    found = path.stat().st_size - start
    if fields.get('encoding') == 'raw' and found < need:
        raise SeriesError(
            f'{path}: {found} bytes of voxels, the header promises {need}; '
            'the file is cut. Copy it again.'
        )
    space = fields.get('space', '').lower()
    if space not in PATIENT_SPACES:
        caveats.append(
            f'no patient space in the header (space is {space!r}); taken as '
            'LPS'
        )
    if 'spaceorigin' not in fields:
        caveats.append('no space origin in the header; taken as 0')


def _nrrd_fields(path: Path) -> tuple[dict[str, str], int]:
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
        key, found, value = line.partition(':')
        if not found or line.startswith('#') or value.startswith('='):
            continue
        key = key.replace(' ', '').lower()
        if key in fields:
            raise SeriesError(
                f'{path}: {key} stands twice in the header; remove one.'
            )
        fields[key] = value.strip()
    return fields, end.end()


def _nrrd_numbers(path: Path, fields: dict[str, str], key: str) -> list[float]:
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


def _nrrd_spacing(
    path: Path, fields: dict[str, str], axes: int
) -> Sequence[float]:
    if 'spacedirections' not in fields:
        return _nrrd_numbers(path, fields, 'spacings')
    vectors = np.array(_nrrd_numbers(path, fields, 'spacedirections'))
    if len(vectors) != 3 * axes:
        raise SeriesError(
            f'{path}: {len(vectors) // 3} space directions for {axes} axes; '
            'expected one 3D channel. Export the CT values alone.'
        )
    return [float(np.linalg.norm(v)) for v in vectors.reshape(axes, 3)]


def _read_itk(path: Path) -> tuple[np.ndarray, Geometry]:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() != 1:
            raise SeriesError(
                f'{path}: {reader.GetNumberOfComponents()} channels; expected '
                'one. Export the CT values alone.'
            )
        image = reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SeriesError(
            f'{path}: cannot be read ({reason}); copy or export it again.'
        ) from error
    array = sitk.GetArrayFromImage(image)
    array = array.reshape(array.shape[-3:])
    rank = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (rank, rank))[:3, :3]
    try:
        geometry = Geometry.from_parts(
            array.shape,
            spacing_zyx=image.GetSpacing()[2::-1],
            origin_xyz=image.GetOrigin()[:3],
            direction=direction,
        )
    except GeometryError as error:
        raise SeriesError(f'{path}: {error}') from error
    return array, geometry


__all__ = [
    'canonical',
    'load_volume',
    'read_image',
    'stem',
    'to_hu',
    'write_image',
]
