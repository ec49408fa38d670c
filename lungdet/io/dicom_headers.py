"""Tags of a DICOM file to the headers of its slices; no file is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import SeriesError
from lungdet.io.dicom_file import DICOMDIR

CT_CLASS = '1.2.840.10008.5.1.4.1.1.2'
MULTIFRAME = {f'{CT_CLASS}.1', f'{CT_CLASS}.2'}  # enhanced, legacy converted
COSINE_TOL, SPACING_TOL_MM = 1e-3, 1e-3  # within one stack
SIGN_BIT = 1 << 15  # of 16 bits


@dataclass(frozen=True, kw_only=True)
class SliceHeader:
    """Header of one slice; None where an optional tag is absent.

    Attributes:
        path: Its file.
        frame: Which frame of a multi-frame file, from 0; None in a file of
            one slice.
        syntax: Transfer syntax UID, which says how pixels are compressed.
        series_uid: Series it belongs to.
        rows: Pixels along y of the image.
        columns: Pixels along x of the image.
        orientation: Unit vectors (6,) along rows and down columns, LPS.
        position: World position (3,) of the first pixel's centre, LPS, mm.
        spacing: mm (2,) between rows, between columns.
        uid: SOP instance UID, with the number of a frame after it.
        description: Description of the series.
        patient: Patient's ID.
        patient_name: Patient's name.
        study: Examination that it belongs to.
        slope: HU of one step of stored values.
        intercept: HU of a stored 0.
        rescale_type: Unit of rescaled values.
        bits: Bits of a stored value that are used.
        high_bit: The highest of them, from 0.
        signed: Whether stored values are signed (1) or not (0).
        padding: Stored value outside of the image, as 16 bits.
        padding_limit: Other end of the range of such values, as 16 bits;
            None if ``padding`` is the only one.
        frames: Slices in the file.
        acquisition: Number of the acquisition.
        time: Time of the acquisition.
        thickness: mm.
        instance: Number of the file in its series, as viewers count.
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
    patient_name: str | None = None
    study: str | None = None
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str | None = None
    bits: int | None = None
    high_bit: int | None = None
    signed: int | None = None
    padding: int | None = None
    padding_limit: int | None = None
    frames: int = 1
    acquisition: int | None = None
    time: str | None = None
    thickness: float | None = None
    instance: int | None = None

    @property
    def name(self) -> str:
        """File name, with the number of the frame, from 1 as viewers count."""
        if self.frame is None:
            return self.path.name
        return f'{self.path.name} frame {self.frame + 1}'

    @property
    def normal(self) -> np.ndarray:
        """Unit vector normal to the slices."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height(self) -> float:
        """Position along the normal, mm."""
        return float(self.position @ self.normal)

    @property
    def has_rescale(self) -> bool:
        """Whether the header says what HU a stored value is."""
        return self.slope is not None and self.intercept is not None

    @property
    def padding_range(self) -> tuple[int, int] | None:
        """Lowest and highest stored value of padding; None without padding.

        Source: DICOM PS3.3 C.7.5.1.1.2: both ends are padding, and either may
        be the lower one.
        """
        if self.padding is None:
            return None
        ends = [self.padding]
        if self.padding_limit is not None:
            ends.append(self.padding_limit)
        if self.signed:
            ends = [(bits ^ SIGN_BIT) - SIGN_BIT for bits in ends]
        return min(ends), max(ends)

    def fits(self, other: SliceHeader) -> bool:
        """Whether both can be in one stack."""
        turn = np.abs(self.orientation - other.orientation).max()
        step = np.abs(self.spacing - other.spacing).max()
        return (
            (self.rows, self.columns) == (other.rows, other.columns)
            and bool(turn <= COSINE_TOL)
            and bool(step <= SPACING_TOL_MM)
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


def _uid(value: Any) -> str:
    text = str(value).strip()
    if not isinstance(value, str) or not text.isprintable():
        raise ValueError(f'{text[:80]!r} is not an identifier')
    return text


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f'{number} is not a number')
    return number


def _bits16(value: Any) -> int:
    """A stored value as 16 bits, of either sign."""
    if isinstance(value, bytes):  # its type follows from another tag
        value = int.from_bytes(value[:2], 'little')
    return int(value) & 0xFFFF


def _words(value: Any) -> set[str]:
    """Values of a tag that has one or several."""
    several = [value] if isinstance(value, str) else value
    return {str(word).upper() for word in several}


NEEDED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    'series_uid': ('SeriesInstanceUID', _uid),
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
    'patient_name': ('PatientName', _text),
    'study': ('StudyInstanceUID', _text),
    'slope': ('RescaleSlope', _finite),
    'intercept': ('RescaleIntercept', _finite),
    'rescale_type': ('RescaleType', _text),
    'bits': ('BitsStored', int),
    'high_bit': ('HighBit', int),
    'signed': ('PixelRepresentation', int),
    'padding': ('PixelPaddingValue', _bits16),
    'padding_limit': ('PixelPaddingRangeLimit', _bits16),
    'acquisition': ('AcquisitionNumber', int),
    'time': ('AcquisitionTime', _text),
    'thickness': ('SliceThickness', _finite),
}
ONLY: dict[str, tuple[Callable[[Any], Any], Any]] = {
    'NumberOfFrames': (int, 1),  # of a single-frame file, or of one frame
    'SamplesPerPixel': (int, 1),
    'PhotometricInterpretation': (_text, 'MONOCHROME2'),
    'BitsAllocated': (int, 16),
}
# of multi-frame files: shared values, and values per frame
SHARED = 'SharedFunctionalGroupsSequence'
PER_FRAME = 'PerFrameFunctionalGroupsSequence'
TAGS = [
    'SOPClassUID',
    SHARED,
    PER_FRAME,
    'Modality',
    'ImageType',
    'InstanceNumber',
    *ONLY,
    *(tag for tag, _ in (NEEDED | OPTIONAL).values()),
]


def skip_reason(header: Any, path: Path) -> str | None:
    """The kind of object in a file, None if it is a CT slice."""
    import pydicom

    kind = _value(header, path, 'SOPClassUID', _text) or DICOMDIR
    modality = _value(header, path, 'Modality', _text)
    if kind not in {CT_CLASS, *MULTIFRAME}:
        return f'{modality or pydicom.uid.UID(kind).name} objects'
    if modality not in (None, 'CT'):
        return f'{modality} objects'
    words = _value(header, path, 'ImageType', _words) or set()
    if words & {'LOCALIZER', 'SCOUT'}:
        return 'localizers'
    return None


def _value(
    header: Any, path: Path, tag: str, parse: Callable[[Any], Any]
) -> Any:
    """A tag's value, None if it is absent or empty."""
    try:
        value = header.get(tag)
        return None if value in (None, '') else parse(value)
    except Exception as error:  # pydicom converts a value on access
        raise SeriesError(
            f'{path}: {tag} cannot be read ({error}); correct it, or export '
            'the series again.'
        ) from error


def series_uid_of(header: Any, path: Path) -> str:
    """The file's series, empty if it states none."""
    return _value(header, path, 'SeriesInstanceUID', _uid) or ''


def slices_of(header: Any, path: Path) -> list[SliceHeader]:
    """The slice of a file, or those of an enhanced multi-frame file.

    Raises:
        SeriesError: A file that cannot be used, with the tag.
    """
    if header.SOPClassUID not in MULTIFRAME:
        return [_slice(header, path)]
    count = _value(header, path, 'NumberOfFrames', int)
    frames = _value(header, path, PER_FRAME, list) or []
    if count is None or count != len(frames):
        raise SeriesError(
            f'{path}: NumberOfFrames is {count}, and {len(frames)} frames are '
            'described; the header may be cut. Export the series again.'
        )
    shared = _value(header, path, SHARED, list) or [{}]
    return [
        _slice(_frame(header, shared[0], frame, path), path, number, count)
        for number, frame in enumerate(frames)
    ]


def _frame(header: Any, shared: Any, per_frame: Any, path: Path) -> Any:
    """As ``_flat``, of which a damaged file is refused."""
    try:
        return _flat(header, shared, per_frame)
    except Exception as error:  # pydicom converts a sequence on access
        raise SeriesError(
            f'{path}: the descriptions of its frames cannot be read ({error});'
            ' copy the file again.'
        ) from error


def _flat(header: Any, shared: Any, per_frame: Any) -> Any:
    """Tags of one frame, arranged as in a single-frame file.

    Source: DICOM PS3.3, A.38.1 and C.7.6.16.
    """
    import pydicom

    frame = pydicom.Dataset()
    frame.update(header)
    frame.file_meta = header.file_meta
    for groups in (shared, per_frame):
        for group in groups:
            if group.VR == 'SQ' and len(group.value) == 1:
                frame.update(group.value[0])
    # new elements: those of the header are shared with the other frames
    for tag, kind, value in (
        ('NumberOfFrames', 'IS', 1),
        ('AcquisitionNumber', 'IS', frame.get('FrameAcquisitionNumber')),
        ('AcquisitionTime', 'DT', frame.get('FrameAcquisitionDateTime')),
    ):
        frame.add_new(tag, kind, value)
    return frame


def _slice(
    header: Any, path: Path, frame: int | None = None, frames: int = 1
) -> SliceHeader:
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
                'position. The header may be cut; export the series again.'
            )
    if frame is not None and values['uid']:
        values['uid'] += f'.{frame + 1}'
    _check_bits(path, values)
    syntax = _value(header.file_meta, path, 'TransferSyntaxUID', _text) or ''
    return SliceHeader(
        path=path,
        frame=frame,
        syntax=syntax,
        frames=frames,
        instance=_instance_number(header, path),
        **values,
    )


def _instance_number(header: Any, path: Path) -> int | None:
    """None also if it cannot be read, since it is only shown to people."""
    try:
        return _value(header, path, 'InstanceNumber', int)
    except SeriesError:
        return None


def _check_bits(path: Path, values: dict[str, Any]) -> None:
    bits, high = values['bits'], values['high_bit']
    if bits is None or 1 <= bits <= 16 and high in (None, bits - 1):
        return
    raise SeriesError(
        f'{path}: BitsStored is {bits} and HighBit {high}; HighBit '
        'must be BitsStored - 1. Export the series again.'
    )
