"""A DICOM series folder to one volume.

Headers are read and judged first (pydicom), then pixels. The reader behind
SimpleITK repairs or hides most defects without a word: missing slices,
duplicates, tilted gantries, localizers, absent rescale values.
"""

from __future__ import annotations

import os
import stat
import warnings as python_warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.image import canonical, to_hu
from lungdet.io.limits import MAX_DEPTH, MAX_FILES, check_grid
from lungdet.structures import Volume

CT_CLASSES = {'1.2.840.10008.5.1.4.1.1.2'}
RAW_SYNTAXES = {
    '1.2.840.10008.1.2',
    '1.2.840.10008.1.2.1',
    '1.2.840.10008.1.2.2',
    '1.2.840.10008.1.2.1.99',
}
DUPLICATE_MM = 0.01  # slices nearer than this are at one place
TILT_DEG, MAX_TILT_DEG = 0.5, 30.0
JITTER_MM, JITTER_SHARE = 0.02, 0.01
MAX_GAP_SLICES, MAX_GAP_SHARE = 2, 0.05
MAX_SPACING_RATIO = 3.0
MIN_SLICES = 5
MAX_THICKNESS_MM = 3.0
TAGS = [
    'SOPClassUID',
    'SOPInstanceUID',
    'SeriesInstanceUID',
    'Modality',
    'ImageType',
    'Rows',
    'Columns',
    'NumberOfFrames',
    'SamplesPerPixel',
    'PhotometricInterpretation',
    'BitsAllocated',
    'BitsStored',
    'HighBit',
    'PixelRepresentation',
    'PixelSpacing',
    'ImageOrientationPatient',
    'ImagePositionPatient',
    'SliceThickness',
    'RescaleSlope',
    'RescaleIntercept',
    'InstanceNumber',
    'AcquisitionNumber',
    'SeriesDescription',
    'PatientID',
]


@dataclass
class Slice:
    """Header of one slice."""

    path: Path
    uid: str
    syntax: str
    rows: int
    columns: int
    orientation: np.ndarray
    position: np.ndarray
    spacing: np.ndarray
    slope: float | None
    intercept: float | None
    acquisition: int
    thickness: float | None


@dataclass
class SeriesSummary:
    """One CT series of a folder.

    Attributes:
        series_uid: Identifier.
        description: Its name on the scanner.
        slices: Headers.
        notes: What was left out of it.
    """

    series_uid: str
    description: str
    slices: list[Slice] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def thickness(self) -> float:
        """Slice thickness in mm, infinite if unknown."""
        return self.slices[0].thickness or float('inf')

    def line(self) -> str:
        """One line for a list."""
        return (
            f'{self.series_uid} ({self.description or "no description"}, '
            f'{len(self.slices)} slices of {self.thickness:g} mm)'
        )


def load_dicom_series(
    folder: str | Path,
    *,
    series_uid: str | None = None,
    hu_offset: int | None = None,
) -> Volume:
    """Read one CT series.

    Args:
        folder: Searched eight levels deep; links are not followed.
        series_uid: Which series. Without it the one with the thinnest
            slices, then the most slices, is taken, and a warning says so.
        hu_offset: HU of a stored 0, for series without rescale values.

    Returns:
        int16 HU turned to identity direction where axes permit.

    Raises:
        SeriesError: No CT series, or a defect that cannot be repaired.
    """
    chosen, notes = _choose(list_series(folder), Path(folder), series_uid)
    where = f'{folder} (series {chosen.series_uid})'
    slices, found = _stack(chosen, where)
    notes += chosen.notes + found
    distance = _positions(slices)
    step = float(np.median(np.diff(distance)))
    first = slices[0]
    check_grid(
        where,
        (len(slices), first.rows, first.columns),
        (step, *first.spacing),
        2,
    )
    array = np.stack([_pixels(s, where, hu_offset) for s in slices])
    normal = _normal(first)
    array, distance = _untilt(array, slices, where, notes)
    array, count = _even(array, distance, where, notes)
    step = (distance[-1] - distance[0]) / (count - 1)
    direction = np.stack(
        [first.orientation[:3], first.orientation[3:], normal], axis=1
    )
    geometry = Geometry.from_parts(
        array.shape,
        spacing_zyx=(step, *first.spacing),
        origin_xyz=first.position.tolist(),
        direction=direction,
    )
    hu = to_hu(array, where, notes)
    return canonical(Volume(hu, geometry, chosen.series_uid, notes))


def list_series(folder: str | Path) -> list[SeriesSummary]:
    """CT series below a folder, with what was skipped among the notes.

    Raises:
        SeriesError: Too many files, or no CT series at all.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    groups: dict[tuple, SeriesSummary] = {}
    skipped: Counter[str] = Counter()
    files = _files(Path(folder))
    for path in files:
        with open(path, 'rb') as file:
            if file.read(132)[128:] != b'DICM':
                skipped['not DICOM'] += 1
                continue
        try:
            with python_warnings.catch_warnings():
                python_warnings.simplefilter('ignore')
                header = pydicom.dcmread(
                    path, stop_before_pixels=True, specific_tags=TAGS
                )
                kind = _skip_reason(header)
                if kind:
                    skipped[kind] += 1
                    continue
                found = _slice(header, path)
        except (InvalidDicomError, EOFError) as error:
            raise SeriesError(
                f'{path}: damaged DICOM header ({error}); copy it again.'
            ) from error
        key = (
            str(header.SeriesInstanceUID),
            found.rows,
            found.columns,
            tuple(np.round(found.orientation, 3)),
            tuple(np.round(found.spacing, 4)),
        )
        group = groups.setdefault(
            key,
            SeriesSummary(key[0], str(header.get('SeriesDescription', ''))),
        )
        group.slices.append(found)
    series = _join_groups(list(groups.values()))
    if not series:
        reasons = ', '.join(f'{n} {k}' for k, n in skipped.items()) or 'empty'
        raise SeriesError(
            f'{folder}: no CT series ({len(files)} files: {reasons}); give '
            'the folder with the CT slices.'
        )
    if skipped:
        text = ', '.join(f'{n} {kind}' for kind, n in skipped.items())
        for one in series:
            one.notes.append(f'files skipped: {text}')
    return series


def _files(folder: Path) -> list[Path]:
    found = []
    base = len(folder.parts)
    for place, folders, names in os.walk(folder, followlinks=False):
        if len(Path(place).parts) - base >= MAX_DEPTH:
            folders.clear()
        for name in names:
            path = Path(place) / name
            if stat.S_ISREG(path.lstat().st_mode):
                found.append(path)
        if len(found) > MAX_FILES:
            raise SeriesError(
                f'{folder}: more than {MAX_FILES} files; give the folder of '
                'one series.'
            )
    return sorted(found)


def _skip_reason(header: Any) -> str | None:
    kind = str(header.get('SOPClassUID', ''))
    if kind not in CT_CLASSES:
        modality = str(header.get('Modality', 'unknown'))
        return f'{modality} objects' if modality != 'CT' else 'other CT kinds'
    if any(t in ('LOCALIZER', 'SCOUT') for t in header.get('ImageType', [])):
        return 'localizers'
    return None


def _slice(header: Any, path: Path) -> Slice:
    def numbers(tag: str, count: int) -> np.ndarray:
        try:
            values = np.array([float(v) for v in header.get(tag) or ()])
        except (TypeError, ValueError):
            values = np.zeros(0)
        if len(values) != count or not np.isfinite(values).all():
            raise SeriesError(
                f'{path}: {tag} is {header.get(tag)!r}; without it the slice '
                'has no place. Export the series again.'
            )
        return values

    def maybe(tag: str) -> float | None:
        value = header.get(tag)
        return None if value in (None, '') else float(value)

    if (
        int(header.get('SamplesPerPixel', 1)) != 1
        or header.get('PhotometricInterpretation', 'MONOCHROME2')
        != 'MONOCHROME2'
    ):
        raise SeriesError(
            f'{path}: {header.get("PhotometricInterpretation")} with '
            f'{header.get("SamplesPerPixel")} samples a pixel is no CT; '
            'remove it from the folder.'
        )
    if int(header.get('BitsAllocated', 16)) != 16:
        raise SeriesError(
            f'{path}: {header.BitsAllocated} bits a pixel; CT has 16.'
        )
    return Slice(
        path=path,
        uid=str(header.get('SOPInstanceUID', '')),
        syntax=str(header.file_meta.TransferSyntaxUID),
        rows=int(header.Rows),
        columns=int(header.Columns),
        orientation=numbers('ImageOrientationPatient', 6),
        position=numbers('ImagePositionPatient', 3),
        spacing=numbers('PixelSpacing', 2),
        slope=maybe('RescaleSlope'),
        intercept=maybe('RescaleIntercept'),
        acquisition=int(header.get('AcquisitionNumber') or 0),
        thickness=maybe('SliceThickness'),
    )


def _join_groups(groups: list[SeriesSummary]) -> list[SeriesSummary]:
    """Drop stray orientations of a series; keep the largest group."""
    series: dict[str, SeriesSummary] = {}
    for group in sorted(groups, key=lambda g: -len(g.slices)):
        kept = series.setdefault(group.series_uid, group)
        if kept is group:
            continue
        if len(group.slices) < MIN_SLICES:
            kept.notes.append(
                f'{len(group.slices)} slices of another size or orientation '
                'left out'
            )
        else:
            raise SeriesError(
                f'{group.slices[0].path}: series {group.series_uid} holds '
                f'two stacks ({len(kept.slices)} and {len(group.slices)} '
                'slices of different grids); put one in a folder of its own.'
            )
    return list(series.values())


def _choose(
    series: list[SeriesSummary], folder: Path, wanted: str | None
) -> tuple[SeriesSummary, list[str]]:
    lines = '; '.join(s.line() for s in series)
    if wanted is not None:
        for one in series:
            if one.series_uid == wanted:
                return one, []
        raise SeriesError(f'{folder}: no series {wanted}; there are: {lines}.')
    if len(series) == 1:
        return series[0], []
    thin = [s for s in series if s.thickness <= MAX_THICKNESS_MM]
    if not thin:
        raise SeriesError(
            f'{folder}: {len(series)} series, none with slices of '
            f'{MAX_THICKNESS_MM:g} mm or less; choose one: {lines}.'
        )
    best = min(thin, key=lambda s: (s.thickness, -len(s.slices)))
    return best, [
        f'{len(series)} series in the folder; took {best.line()}, the '
        'thinnest with the most slices'
    ]


def _normal(one: Slice) -> np.ndarray:
    return np.cross(one.orientation[:3], one.orientation[3:])


def _positions(slices: list[Slice]) -> np.ndarray:
    normal = _normal(slices[0])
    return np.array([s.position @ normal for s in slices])


def _stack(series: SeriesSummary, where: str) -> tuple[list[Slice], list[str]]:
    """Slices in order along the normal, one at each place."""
    notes: list[str] = []
    slices = series.slices
    normal = _normal(slices[0])
    slices = sorted(slices, key=lambda s: (s.position @ normal, s.uid))
    kept = [slices[0]]
    dropped = 0
    for one in slices[1:]:
        gap = (one.position - kept[-1].position) @ normal
        if gap > DUPLICATE_MM:
            kept.append(one)
        elif one.uid == kept[-1].uid or _same_pixels(one, kept[-1]):
            dropped += 1
        else:
            return _one_acquisition(series, where, gap), notes
    if dropped:
        notes.append(f'{dropped} duplicate slices left out')
    if len(kept) < MIN_SLICES:
        raise SeriesError(
            f'{where}: {len(kept)} slices are no volume; check that the '
            'whole series was copied.'
        )
    _check_rescale(kept, where)
    return kept, notes


def _same_pixels(a: Slice, b: Slice) -> bool:
    import pydicom

    first, second = (pydicom.dcmread(s.path).PixelData for s in (a, b))
    return first == second


def _one_acquisition(
    series: SeriesSummary, where: str, gap: float
) -> list[Slice]:
    """Take the last complete acquisition, if there are several."""
    numbers = Counter(s.acquisition for s in series.slices)
    if len(numbers) > 1 and len(set(numbers.values())) == 1:
        last = max(numbers)
        one = SeriesSummary(
            series.series_uid,
            series.description,
            [s for s in series.slices if s.acquisition == last],
        )
        series.notes.append(
            f'{len(numbers)} acquisitions at the same places; took number '
            f'{last}'
        )
        return _stack(one, where)[0]
    raise SeriesError(
        f'{where}: two different images at one place; remove one of them, or '
        'export the acquisitions as two series.'
    )


def _check_rescale(slices: list[Slice], where: str) -> None:
    lacking = [s for s in slices if s.slope is None or s.intercept is None]
    if lacking and len(lacking) < len(slices):
        names = ', '.join(s.path.name for s in lacking[:3])
        raise SeriesError(
            f'{where}: {len(lacking)} slices lack RescaleSlope or Intercept '
            f'({names}); their HU are unknown. Export the series again.'
        )
    zero = [s for s in slices if s.slope == 0]
    if zero:
        raise SeriesError(
            f'{zero[0].path}: RescaleSlope is 0; every voxel would be equal. '
            'Export the series again.'
        )


def _pixels(one: Slice, where: str, hu_offset: int | None) -> np.ndarray:
    """int16 HU of one slice.

    Uncompressed pixels are read here; compressed ones by SimpleITK, whose
    values are HU already.
    """
    if one.syntax in RAW_SYNTAXES:
        raw = _raw_pixels(one)
        if one.slope is None or one.intercept is None:
            if hu_offset is None and raw.min() > -500:
                raise SeriesError(
                    f'{where}: no RescaleSlope and Intercept; if a stored 0 '
                    'is -1024 HU give --hu-offset -1024.'
                )
            return (raw + (hu_offset or 0)).astype(np.int16)
        hu = raw * np.float32(one.slope) + np.float32(one.intercept)
    else:
        hu = _decoded(one)
    return np.clip(np.rint(hu), -32768, 32767).astype(np.int16)


def _raw_pixels(one: Slice) -> np.ndarray:
    import pydicom

    data = pydicom.dcmread(one.path)
    need = one.rows * one.columns * 2
    if len(data.get('PixelData', b'')) < need:
        raise SeriesError(
            f'{one.path}: {len(data.get("PixelData", b""))} bytes of pixels, '
            f'{need} are needed; the file is cut. Copy it again.'
        )
    return data.pixel_array.astype(np.int32)


def _decoded(one: Slice) -> np.ndarray:
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


def _untilt(
    array: np.ndarray, slices: list[Slice], where: str, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Undo a tilted gantry: shift each slice in its own plane."""
    first = slices[0]
    normal = _normal(first)
    shift = np.array([s.position for s in slices]) - first.position
    along = shift @ normal
    inside = shift - along[:, None] * normal
    reach = float(np.linalg.norm(inside[-1]))
    angle = float(np.degrees(np.arctan2(reach, along[-1])))
    distance = _positions(slices)
    if angle < TILT_DEG:
        return array, distance
    if angle > MAX_TILT_DEG:
        raise SeriesError(
            f'{where}: the gantry is tilted by {angle:.0f} degrees, above '
            f'{MAX_TILT_DEG:g}; reformat the series at the console.'
        )
    rows = inside @ first.orientation[3:] / first.spacing[0]
    columns = inside @ first.orientation[:3] / first.spacing[1]
    out = np.stack(
        [
            _shift_plane(plane, dy, dx)
            for plane, dy, dx in zip(array, rows, columns)
        ]
    )
    notes.append(
        f'gantry tilted by {angle:.1f} degrees; slices were shifted back'
    )
    return out, distance


def _shift_plane(plane: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Sample a plane at (row - dy, column - dx), linear, edges repeated."""
    out = plane.astype(np.float32)
    for axis, shift in ((0, dy), (1, dx)):
        place = np.clip(
            np.arange(out.shape[axis]) - shift, 0, out.shape[axis] - 1
        )
        low = np.minimum(place.astype(int), out.shape[axis] - 2)
        share = (place - low).reshape((-1, 1) if axis == 0 else (1, -1))
        out = (
            out.take(low, axis) * (1 - share) + out.take(low + 1, axis) * share
        )
    return np.rint(out).astype(plane.dtype)


def _even(
    array: np.ndarray, distance: np.ndarray, where: str, notes: list[str]
) -> tuple[np.ndarray, int]:
    """Fill gaps and uneven steps by linear interpolation along the normal."""
    steps = np.diff(distance)
    step = float(np.median(steps))
    off = float(np.abs(steps - step).max())
    if off <= max(JITTER_MM, JITTER_SHARE * step):
        return array, len(array)
    counts = np.rint(steps / step)
    if np.abs(steps - counts * step).max() <= 0.1 * step:
        missing = counts - 1
        total = int(missing.sum())
        allowed = MAX_GAP_SHARE * (len(array) + total)
        if missing.max() > MAX_GAP_SLICES or total > allowed:
            at = int(missing.argmax())
            raise SeriesError(
                f'{where}: {total} slices are missing, {int(missing.max())} '
                f'of them between {distance[at]:.1f} and '
                f'{distance[at + 1]:.1f} mm; copy the whole series.'
            )
        notes.append(f'{total} missing slices were interpolated')
    elif steps.max() / steps.min() > MAX_SPACING_RATIO:
        raise SeriesError(
            f'{where}: slice spacing varies from {steps.min():.2f} to '
            f'{steps.max():.2f} mm; export one spacing.'
        )
    else:
        notes.append(
            f'slice spacing varies from {steps.min():.2f} to '
            f'{steps.max():.2f} mm; resampled evenly'
        )
        step = float(steps.min())
    count = round((distance[-1] - distance[0]) / step) + 1
    wanted = np.linspace(distance[0], distance[-1], count)
    high = np.clip(np.searchsorted(distance, wanted), 1, len(distance) - 1)
    share = (wanted - distance[high - 1]) / np.diff(distance)[high - 1]
    out = np.empty((count, *array.shape[1:]), dtype=array.dtype)
    for k in range(count):
        low_plane = array[high[k] - 1].astype(np.float32)
        high_plane = array[high[k]].astype(np.float32)
        out[k] = np.rint(low_plane + share[k] * (high_plane - low_plane))
    return out, count
