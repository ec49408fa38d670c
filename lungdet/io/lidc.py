"""LIDC reader XML: what each radiologist outlined in a series."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.io.files import check_regular
from lungdet.io.numbers import numbers_of

MAX_XML_BYTES = 16_000_000
MAX_POINTS = 10_000  # of one contour; none in 512 x 512 pixels is longer
MAX_PIXEL = 1 << 16  # of a coordinate; images have at most 2048
SWITCH = {'TRUE': True, 'FALSE': False}


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed line in one slice.

    Attributes:
        z_mm: World z of the slice.
        inclusion: Whether it goes around the nodule; False for a hole in it.
        points: (n, 2) pixel columns and rows (x, y), from 0.
    """

    z_mm: float
    inclusion: bool
    points: np.ndarray


@dataclass(frozen=True)
class NoduleOutline:
    """One reader's contours of one nodule of at least 3 mm.

    Attributes:
        reader: Number of the reading session, from 0.
        nodule: The reader's name of the nodule.
        contours: In any order; several may be in one slice.
    """

    reader: int
    nodule: str
    contours: tuple[Contour, ...]


@dataclass(frozen=True)
class LidcReading:
    """What the readers drew in one series.

    Attributes:
        series_uid: Identifier.
        study_uid: Study uid of the examination, None if the file lacks it.
        num_readers: Reading sessions in the file.
        outlines: Outlines of nodules; single points (below 3 mm) are left out.
        num_points: How many nodules were marked by a single point.
        num_non_nodules: How many other findings were marked.
    """

    series_uid: str
    study_uid: str | None
    num_readers: int
    outlines: tuple[NoduleOutline, ...]
    num_points: int = 0
    num_non_nodules: int = 0


def read_lidc_xml(path: str | Path) -> LidcReading | None:
    """Read one file; None if it is of a chest X-ray.

    Raises:
        AnnotationError: Not an LIDC file, or damaged.
    """
    path = Path(path)
    root = _root(path)
    if root.tag == 'IdriReadMessage':
        return None
    uid = root.findtext('ResponseHeader/SeriesInstanceUid', '').strip()
    if root.tag != 'LidcReadMessage' or not uid:
        raise AnnotationError(
            f'{path}: root {root.tag!r} without a SeriesInstanceUid; this '
            'is not LIDC reader XML.'
        )
    sessions = root.findall('readingSession')
    nodules = [
        NoduleOutline(
            reader,
            element.findtext('noduleID', '?'),
            tuple(_contours(element, path)),
        )
        for reader, session in enumerate(sessions)
        for element in session.findall('unblindedReadNodule')
    ]
    outlines = tuple(
        nodule
        for nodule in nodules
        if sum(len(contour.points) for contour in nodule.contours) > 1
    )
    study = root.findtext('ResponseHeader/StudyInstanceUID', '').strip()
    return LidcReading(
        uid,
        study or None,
        len(sessions),
        outlines,
        num_points=len(nodules) - len(outlines),
        num_non_nodules=sum(len(s.findall('nonNodule')) for s in sessions),
    )


def _root(path: Path) -> ET.Element:
    """The document, with tags without namespaces."""
    size = check_regular(path, error=AnnotationError)
    if size > MAX_XML_BYTES:
        raise AnnotationError(
            f'{path}: {size} bytes; reader XML is below {MAX_XML_BYTES}. '
            'Check the file.'
        )
    text = path.read_bytes()
    if b'\0' in text:  # UTF-16, which would hide the declarations below
        raise AnnotationError(
            f'{path}: not UTF-8 text, which reader XML is; copy it again.'
        )
    if b'<!DOCTYPE' in text or b'<!ENTITY' in text:
        raise AnnotationError(
            f'{path}: declares entities, which reader XML never does; the '
            'file is refused.'
        )
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, LookupError, ValueError) as error:  # an encoding
        raise AnnotationError(
            f'{path}: not readable as XML ({error}); copy it again.'
        ) from error
    for element in root.iter():
        element.tag = element.tag.rsplit('}', 1)[-1]
    return root


def _contours(nodule: ET.Element, path: Path) -> Iterator[Contour]:
    for roi in nodule.findall('roi'):
        try:
            contour = _contour(roi)
        except ValueError as error:
            raise AnnotationError(
                f'{path}: nodule {nodule.findtext("noduleID")}: {error}; '
                'an outline is damaged.'
            ) from error
        yield contour


def _contour(roi: ET.Element) -> Contour:
    """One closed line.

    Raises:
        ValueError: A text that is not such a value.
    """
    edges = roi.findall('edgeMap')
    if not 1 <= len(edges) <= MAX_POINTS:
        raise ValueError(
            'an outline without points'
            if not edges
            else f'an outline of {len(edges)} points (limit {MAX_POINTS})'
        )
    points = [
        (
            _pixel(edge.findtext('xCoord', '')),
            _pixel(edge.findtext('yCoord', '')),
        )
        for edge in edges
    ]
    text = roi.findtext('imageZposition', '')
    z_mm = numbers_of(text)
    if z_mm is None or len(z_mm) != 1:
        raise ValueError(f'imageZposition is {text[:60]!r}')
    inclusion = roi.findtext('inclusion', 'TRUE').strip().upper()
    if inclusion not in SWITCH:
        raise ValueError(
            f'inclusion is {inclusion[:60]!r}, neither TRUE nor FALSE'
        )
    return Contour(z_mm[0], SWITCH[inclusion], np.array(points).reshape(-1, 2))


def _pixel(text: str) -> int:
    values = numbers_of(text, int)
    if values is None or len(values) != 1 or abs(values[0]) > MAX_PIXEL:
        raise ValueError(f'{text[:60]!r} is not a pixel')
    return int(values[0])
