"""The CT series of a folder, judged from DICOM headers alone.

A file that cannot be used is a defect of its own series: it stops the series
it belongs to and no other.
"""

from __future__ import annotations

import os
import stat
import struct
import warnings as python_warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.limits import MAX_DEPTH, MAX_FILES, SLICES

CT_CLASS = '1.2.840.10008.5.1.4.1.1.2'
MULTIFRAME = {f'{CT_CLASS}.1', f'{CT_CLASS}.2'}  # enhanced, legacy converted
DICOMDIR = '1.2.840.10008.1.3.10'  # the index of a disc
STRAY_SLICES = 5  # fewer of another grid are left out of a series
MAX_THICKNESS_MM = 3.0
COSINE_TOL, SPACING_TOL_MM = 1e-3, 1e-3  # within one stack
NOBODY = {'', '0', 'anon', 'anonymous', 'anonymized', 'none', 'unknown'}
BROKEN = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Header of one slice; None where a tag is absent.

    Of a multi-frame file each frame is a slice, numbered from 0.
    """

    path: Path
    frame: int | None = None
    syntax: str
    series_uid: str
    rows: int
    columns: int
    orientation: np.ndarray
    position: np.ndarray
    spacing: np.ndarray
    uid: str | None = None
    description: str | None = None
    patient: str | None = None
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str | None = None
    bits: int | None = None
    acquisition: int | None = None
    time: str | None = None
    thickness: float | None = None

    @property
    def name(self) -> str:
        """File name, with the frame's number as viewers count them."""
        if self.frame is None:
            return self.path.name
        return f'{self.path.name} frame {self.frame + 1}'

    @property
    def normal(self) -> np.ndarray:
        """Unit vector along which slices follow each other."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def has_rescale(self) -> bool:
        """Whether the header says what HU a stored value is."""
        return self.slope is not None and self.intercept is not None

    def fits(self, other: Slice) -> bool:
        """Whether both can lie in one stack."""
        turn = np.abs(self.orientation - other.orientation).max()
        step = np.abs(self.spacing - other.spacing).max()
        return (
            (self.rows, self.columns) == (other.rows, other.columns)
            and bool(turn <= COSINE_TOL)
            and bool(step <= SPACING_TOL_MM)
        )


@dataclass
class SeriesSummary:
    """One CT series of a folder.

    Attributes:
        series_uid: Identifier.
        slices: Headers of its stack.
        defects: Why it cannot be read, one text a file.
        caveats: What was left out of it.
    """

    series_uid: str
    slices: list[Slice] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)

    @property
    def thickness(self) -> float:
        """Slice thickness in mm, infinite if unknown."""
        found = self.slices[0].thickness if self.slices else None
        return found or float('inf')

    @property
    def patient_id(self) -> str | None:
        """The patient, None where it is absent or stands for nobody."""
        found = (self.slices[0].patient or '') if self.slices else ''
        return None if found.lower() in NOBODY else found

    @property
    def is_volume(self) -> bool:
        """Whether it has slices enough for a volume."""
        return len(self.slices) >= SLICES[0]

    def line(self) -> str:
        """One line for a list."""
        name = self.slices[0].description if self.slices else None
        return (
            f'{self.series_uid} ({name or "no description"}, '
            f'{len(self.slices)} slices of {self.thickness:g} mm)'
        )


def _numbers(count: int) -> Callable[[Any], np.ndarray]:
    def parse(value: Any) -> np.ndarray:
        values = np.array([float(v) for v in value])
        if len(values) != count or not np.isfinite(values).all():
            raise ValueError(f'not {count} numbers')
        return values

    return parse


def _text(value: Any) -> str:
    return str(value).strip()


NEEDED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    'series_uid': ('SeriesInstanceUID', _text),
    'rows': ('Rows', int),
    'columns': ('Columns', int),
    'orientation': ('ImageOrientationPatient', _numbers(6)),
    'position': ('ImagePositionPatient', _numbers(3)),
    'spacing': ('PixelSpacing', _numbers(2)),
}
OPTIONAL: dict[str, tuple[str, Callable[[Any], Any]]] = {
    'uid': ('SOPInstanceUID', _text),
    'description': ('SeriesDescription', _text),
    'patient': ('PatientID', _text),
    'slope': ('RescaleSlope', float),
    'intercept': ('RescaleIntercept', float),
    'rescale_type': ('RescaleType', _text),
    'bits': ('BitsStored', int),
    'acquisition': ('AcquisitionNumber', int),
    'time': ('AcquisitionTime', _text),
    'thickness': ('SliceThickness', float),
}
ONLY: dict[str, tuple[Callable[[Any], Any], Any]] = {
    'NumberOfFrames': (int, 1),  # of a single-frame file, or of one frame
    'SamplesPerPixel': (int, 1),
    'PhotometricInterpretation': (_text, 'MONOCHROME2'),
    'BitsAllocated': (int, 16),
}
# of multi-frame files: what all frames have in common, and each its own
SHARED, OWN = (
    'SharedFunctionalGroupsSequence',
    'PerFrameFunctionalGroupsSequence',
)
TAGS = [
    'SOPClassUID',
    SHARED,
    OWN,
    'Modality',
    'ImageType',
    *ONLY,
    *(tag for tag, _ in (NEEDED | OPTIONAL).values()),
]


def list_series(
    folder: str | Path, *, depth: int = MAX_DEPTH
) -> list[SeriesSummary]:
    """CT series of a folder, with what was skipped among the caveats.

    Args:
        folder: Links in it are not followed.
        depth: Levels of folders below it that are searched too.

    Raises:
        SeriesError: Too many files, a damaged file of an unknown series, or
            no CT series at all.
    """
    found: defaultdict[str, list[Slice]] = defaultdict(list)
    defects: defaultdict[str, list[str]] = defaultdict(list)
    skipped: Counter[str] = Counter()
    files = _files(Path(folder), depth)
    for path in files:
        with open(path, 'rb') as file:
            if file.read(132)[128:] != b'DICM':
                skipped['not DICOM'] += 1
                continue
        with python_warnings.catch_warnings():
            python_warnings.simplefilter('ignore')
            header = _header(path)
            kind = _skip_reason(header, path)
            if kind is not None:
                skipped[kind] += 1
                continue
            uid = _value(header, path, 'SeriesInstanceUID', _text) or ''
            try:
                found[uid] += _slices(header, path)
            except SeriesError as error:
                if not uid:
                    raise
                defects[uid].append(str(error))
    series = [
        _summary(uid, found[uid], defects[uid])
        for uid in dict.fromkeys([*found, *defects])
    ]
    text = ', '.join(f'{n} {kind}' for kind, n in skipped.items())
    if not series:
        raise SeriesError(
            f'{folder}: no CT series ({len(files)} files: {text or "empty"});'
            ' give the folder with the CT slices.'
        )
    if skipped:
        for one in series:
            one.caveats.append(f'files skipped: {text}')
    return series


def choose_series(
    series: list[SeriesSummary], folder: Path, wanted: str | None
) -> SeriesSummary:
    """The series asked for, or the thinnest; the choice is a note of it.

    Raises:
        SeriesError: None fits, or the chosen one has a defect.
    """
    chosen = _named(series, folder, wanted) if wanted else series[0]
    if wanted is None and len(series) > 1:
        chosen = _thinnest(series, folder)
        chosen.caveats.append(
            f'{len(series)} series in the folder; took {chosen.line()}, the '
            'thinnest with the most slices'
        )
    if chosen.defects:
        more = len(chosen.defects) - 1
        raise SeriesError(
            chosen.defects[0]
            + (
                f' ({more} more files of the series have a defect.)'
                * (more > 0)
            )
        )
    return chosen


def _named(
    series: list[SeriesSummary], folder: Path, wanted: str
) -> SeriesSummary:
    for one in series:
        if one.series_uid == wanted:
            return one
    raise SeriesError(
        f'{folder}: no series {wanted}; there are: {_lines(series)}.'
    )


def _thinnest(series: list[SeriesSummary], folder: Path) -> SeriesSummary:
    full = [s for s in series if s.is_volume]
    thin = [s for s in full if s.thickness <= MAX_THICKNESS_MM]
    if len(full) == 1:
        return full[0]
    if not thin:
        raise SeriesError(
            f'{folder}: {len(series)} series, none with {SLICES[0]} slices or '
            f'more of at most {MAX_THICKNESS_MM:g} mm; choose one with '
            f'--series: {_lines(series)}.'
        )
    return min(thin, key=lambda s: (s.thickness, -len(s.slices)))


def _lines(series: Iterable[SeriesSummary]) -> str:
    return '; '.join(one.line() for one in series)


def _files(folder: Path, depth: int) -> list[Path]:
    found = []
    base = len(folder.parts)
    for place, folders, names in os.walk(folder, followlinks=False):
        if len(Path(place).parts) - base >= depth:
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


def _header(path: Path) -> Any:
    """Tags of one file.

    Raises:
        SeriesError: A damaged or cut header; pydicom hands out the rest of a
            value that the file's end has cut.
    """
    import pydicom

    try:
        header = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=TAGS
        )
    except BROKEN as error:
        raise SeriesError(
            f'{path}: damaged DICOM header ({error}); copy it again.'
        ) from error
    whole = all(
        len(getattr(element, 'value', None) or b'')
        >= getattr(element, 'length', 0)
        for element in header.values()
    )
    is_index = header.file_meta.get('MediaStorageSOPClassUID') == DICOMDIR
    if not whole or 'SOPClassUID' not in header and not is_index:
        raise SeriesError(
            f'{path}: the DICOM header is cut; copy the file again, or '
            'remove it.'
        )
    return header


def _skip_reason(header: Any, path: Path) -> str | None:
    """What a file is, if it is no CT slice."""
    import pydicom

    kind = str(header.get('SOPClassUID', DICOMDIR))
    modality = _value(header, path, 'Modality', _text)
    if kind not in {CT_CLASS, *MULTIFRAME}:
        return f'{modality or pydicom.uid.UID(kind).name} objects'
    if modality not in (None, 'CT'):
        return f'{modality} objects'
    image_type = header.get('ImageType') or ()
    words = [image_type] if isinstance(image_type, str) else image_type
    if {'LOCALIZER', 'SCOUT'} & {str(word).upper() for word in words}:
        return 'localizers'
    return None


def _value(
    header: Any, path: Path, tag: str, parse: Callable[[Any], Any]
) -> Any:
    """A tag's value, None if it is absent or empty."""
    try:
        value = header.get(tag)
        return None if value in (None, '') else parse(value)
    except BROKEN as error:
        raise SeriesError(
            f'{path}: {tag} cannot be read ({error}); correct it, or export '
            'the series again.'
        ) from error


def _slices(header: Any, path: Path) -> list[Slice]:
    """The slice of a file, or those of an enhanced multi-frame file."""
    if header.SOPClassUID not in MULTIFRAME:
        return [_slice(header, path)]
    count = _value(header, path, 'NumberOfFrames', int)
    own = header.get(OWN) or []
    if count is None or count != len(own):
        raise SeriesError(
            f'{path}: NumberOfFrames is {count}, and {len(own)} frames are '
            'described; the header may be cut. Export the series again.'
        )
    shared = header.get(SHARED) or [{}]
    return [
        _slice(_flat(header, shared[0], one, number), path, number)
        for number, one in enumerate(own)
    ]


def _flat(header: Any, shared: Any, own: Any, number: int) -> Any:
    """Tags of one frame, where a single-frame file has them.

    Source: DICOM PS3.3, A.38.1 and C.7.6.16.
    """
    import pydicom

    frame = pydicom.Dataset()
    frame.update(header)
    frame.file_meta = header.file_meta
    for groups in (shared, own):
        for group in groups:
            if group.VR == 'SQ' and len(group.value) == 1:
                frame.update(group.value[0])
    frame.NumberOfFrames = 1
    if header.get('SOPInstanceUID'):
        frame.SOPInstanceUID = f'{header.SOPInstanceUID}.{number + 1}'
    frame.AcquisitionNumber = frame.get('FrameAcquisitionNumber')
    frame.AcquisitionTime = frame.get('FrameAcquisitionDateTime')
    return frame


def _slice(header: Any, path: Path, frame: int | None = None) -> Slice:
    for tag, (parse, only) in ONLY.items():
        value = _value(header, path, tag, parse)
        if value not in (None, only):
            raise SeriesError(
                f'{path}: {tag} is {value}; a CT slice has {only}. Remove '
                'the file from the folder, or export the CT again.'
            )
    values = {
        name: _value(header, path, tag, parse)
        for name, (tag, parse) in (NEEDED | OPTIONAL).items()
    }
    for name, (tag, _) in NEEDED.items():
        if values[name] is None:
            raise SeriesError(
                f'{path}: {tag} is missing; without it the slice has no '
                'place. The header may be cut; export the series again.'
            )
    syntax = str(header.file_meta.get('TransferSyntaxUID', ''))
    return Slice(path=path, frame=frame, syntax=syntax, **values)


def _summary(
    uid: str, slices: list[Slice], defects: list[str]
) -> SeriesSummary:
    """The largest stack of a series; a few slices of others are strays."""
    grids: list[list[Slice]] = []
    for one in slices:
        for grid in grids:
            if one.fits(grid[0]):
                grid.append(one)
                break
        else:
            grids.append([one])
    grids.sort(key=len, reverse=True)
    largest = grids[0] if grids else []
    summary = SeriesSummary(uid, largest, defects)
    for grid in grids[1:]:
        names = ', '.join(one.name for one in grid)
        if len(grid) < STRAY_SLICES:
            summary.caveats.append(
                f'{len(grid)} slices of another size, spacing or orientation '
                f'left out: {names}'
            )
        else:
            summary.defects.append(
                f'{grid[0].path}: series {uid} holds two stacks '
                f'({len(largest)} and {len(grid)} slices of different '
                'grids); put one in a folder of its own.'
            )
    return summary
