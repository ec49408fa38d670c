"""LIDC reader XML to nodule masks.

Every outline is filled by the even-odd rule. Outline pixels lie just outside
the nodule: they do not count for a region with inclusion TRUE and are taken
away for one with inclusion FALSE (a hole).
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry

MAX_XML_BYTES = 50_000_000
MODES = ('half', 'union')
MIN_READERS = 3  # of the four, as LUNA16


@dataclass(frozen=True)
class Region:
    """One closed outline in one slice.

    Attributes:
        z_mm: World z of the slice.
        inclusion: False for a hole.
        points: (n, 2) pixel columns and rows (x, y), from 0.
    """

    z_mm: float
    inclusion: bool
    points: np.ndarray


@dataclass(frozen=True)
class Mark:
    """One reader's outline of one nodule of at least 3 mm."""

    reader: int
    nodule: str
    regions: tuple[Region, ...]


@dataclass
class LidcReading:
    """What the readers drew in one series.

    Attributes:
        series_uid: Identifier.
        study_uid: Of the examination, None where the file lacks it.
        num_readers: Reading sessions in the file.
        marks: Outlined nodules; single points (below 3 mm) are left out.
        small: How many single-point nodules there were.
        non_nodules: How many marks of other findings.
    """

    series_uid: str
    study_uid: str | None
    num_readers: int
    marks: list[Mark]
    small: int
    non_nodules: int


@dataclass(frozen=True)
class LidcNodule:
    """Marks of several readers that are one nodule.

    Attributes:
        id: Its value in the labels, from 1.
        num_readers: Who marked it.
        center_mm: Centre of mass of the consensus, x, y, z.
        diameter_mm: Of the sphere of the consensus' volume.
    """

    id: int
    num_readers: int
    center_mm: tuple[float, float, float]
    diameter_mm: float


def read_lidc_xml(path: str | Path) -> LidcReading | None:
    """Read one file; None for a chest X-ray's.

    Raises:
        AnnotationError: Not an LIDC file, or damaged.
    """
    path = Path(path)
    if path.stat().st_size > MAX_XML_BYTES:
        raise AnnotationError(
            f'{path}: {path.stat().st_size} bytes; reader XML is below '
            f'{MAX_XML_BYTES}. Check the file.'
        )
    text = path.read_bytes()
    if b'<!DOCTYPE' in text or b'<!ENTITY' in text:
        raise AnnotationError(
            f'{path}: declares entities, which reader XML never does; the '
            'file is refused.'
        )
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise AnnotationError(
            f'{path}: not readable as XML ({error}); copy it again.'
        ) from error
    for element in root.iter():
        element.tag = element.tag.rsplit('}', 1)[-1]
    if root.tag == 'IdriReadMessage':
        return None
    uid = root.findtext('ResponseHeader/SeriesInstanceUid', '').strip()
    if root.tag != 'LidcReadMessage' or not uid:
        raise AnnotationError(
            f'{path}: root {root.tag!r} without a SeriesInstanceUid; this '
            'is not LIDC reader XML.'
        )
    sessions = root.findall('readingSession')
    marks, small = [], 0
    for reader, session in enumerate(sessions):
        for nodule in session.findall('unblindedReadNodule'):
            regions = tuple(_regions(nodule, path))
            if sum(len(region.points) for region in regions) <= 1:
                small += 1
                continue
            marks.append(
                Mark(reader, nodule.findtext('noduleID', '?'), regions)
            )
    study = root.findtext('ResponseHeader/StudyInstanceUID', '').strip()
    return LidcReading(
        uid,
        study or None,
        len(sessions),
        marks,
        small,
        sum(len(s.findall('nonNodule')) for s in sessions),
    )


def _regions(nodule: ET.Element, path: Path) -> Iterator[Region]:
    for roi in nodule.findall('roi'):
        try:
            points = [
                (
                    int(edge.findtext('xCoord', '')),
                    int(edge.findtext('yCoord', '')),
                )
                for edge in roi.findall('edgeMap')
            ]
            z_mm = float(roi.findtext('imageZposition', ''))
            if not math.isfinite(z_mm):
                raise ValueError(f'imageZposition is {z_mm}')
            if not points:
                raise ValueError('an outline without points')
        except ValueError as error:
            raise AnnotationError(
                f'{path}: nodule {nodule.findtext("noduleID")}: {error}; '
                'an outline is damaged.'
            ) from error
        yield Region(
            z_mm,
            roi.findtext('inclusion', 'TRUE').strip().upper() == 'TRUE',
            np.array(points).reshape(-1, 2),
        )


def fill_outline(
    points: np.ndarray, shape: tuple[int, int], *, with_outline: bool
) -> np.ndarray:
    """Fill a closed outline by the even-odd rule.

    Args:
        points: (n, 2) columns and rows, in order along the outline.
        shape: Rows and columns.
        with_outline: Whether the pixels on the outline count.

    Returns:
        Boolean (rows, columns).
    """
    filled = np.zeros(shape, dtype=bool)
    low = np.clip(points.min(0), 0, None)
    high = np.minimum(points.max(0) + 1, (shape[1], shape[0]))
    if (high <= low).any():
        return filled
    columns = np.arange(low[0], high[0])
    rows = np.arange(low[1], high[1])
    x, y = np.meshgrid(columns, rows)
    inside = np.zeros(x.shape, dtype=bool)
    on_edge = np.zeros(x.shape, dtype=bool)
    closed = np.concatenate([points, points[:1]]).astype(np.float64)
    for (x0, y0), (x1, y1) in zip(closed[:-1], closed[1:]):
        cross = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)
        within = (
            (x >= min(x0, x1))
            & (x <= max(x0, x1))
            & (y >= min(y0, y1))
            & (y <= max(y0, y1))
        )
        on_edge |= (cross == 0) & within
        if y0 == y1:
            continue
        spans = (y >= min(y0, y1)) & (y < max(y0, y1))
        at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        inside ^= spans & (x < at)
    part = (inside | on_edge) if with_outline else (inside & ~on_edge)
    filled[low[1] : high[1], low[0] : high[0]] = part
    return filled


def mark_voxels(mark: Mark, geometry: Geometry) -> set[tuple[int, int, int]]:
    """Voxels (z, y, x) of one reader's mark on the scan's grid.

    Raises:
        AnnotationError: A region lies in no slice of the scan.
    """
    planes: dict[int, np.ndarray] = {}
    holes: list[tuple[int, np.ndarray]] = []
    shape = geometry.shape[1:]
    z0, step = geometry.origin[2], geometry.affine[2, 0]
    for region in mark.regions:
        place = (region.z_mm - z0) / step
        k = round(place)
        if abs(place - k) > 0.25 or not 0 <= k < geometry.shape[0]:
            raise AnnotationError(
                f'nodule {mark.nodule}: outline at z = {region.z_mm} mm lies '
                'in no slice of the scan; the XML belongs to another series.'
            )
        filled = fill_outline(
            region.points, shape, with_outline=not region.inclusion
        )
        if region.inclusion:
            planes[k] = planes.get(k, False) | filled
        else:
            holes.append((k, filled))
    for k, hole in holes:
        if k in planes:
            planes[k] &= ~hole
    return {
        (k, int(y), int(x))
        for k, plane in planes.items()
        for y, x in np.argwhere(plane)
    }


def check_consensus(min_readers: int, mode: str) -> None:
    """Refuse a consensus that does not exist.

    Raises:
        AnnotationError: An unknown mode, or less than one reader.
    """
    if mode not in MODES:
        raise AnnotationError(f'consensus: {mode!r}; choose one of {MODES}.')
    if min_readers < 1:
        raise AnnotationError(
            f'min_readers: {min_readers}; a nodule has at least 1 reader.'
        )


def consensus_masks(
    reading: LidcReading,
    geometry: Geometry,
    *,
    min_readers: int = MIN_READERS,
    mode: str = 'half',
) -> tuple[np.ndarray, list[LidcNodule]]:
    """Join the readers' marks and take their consensus.

    Marks join by overlap (common voxels / smaller mark), the largest overlap
    first, and never two marks of one reader.

    Args:
        reading: Of ``read_lidc_xml``.
        geometry: The scan's grid, axis-parallel.
        min_readers: Readers a nodule needs.
        mode: ``'half'``: voxels that at least half of the readers who marked
            it drew; ``'union'``: any reader.

    Returns:
        uint8 labels (z, y, x) and the nodules, from 1.
    """
    check_consensus(min_readers, mode)
    voxels = [mark_voxels(mark, geometry) for mark in reading.marks]
    groups = _cluster([mark.reader for mark in reading.marks], voxels)
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    nodules: list[LidcNodule] = []
    for group in groups:
        if len(group) < min_readers:
            continue
        counts: dict[tuple[int, int, int], int] = {}
        for member in group:
            for voxel in voxels[member]:
                counts[voxel] = counts.get(voxel, 0) + 1
        need = len(group) / 2 if mode == 'half' else 1
        chosen = np.array([v for v, n in counts.items() if n >= need]).reshape(
            -1, 3
        )
        if not len(chosen):
            continue
        free = labels[tuple(chosen.T)] == 0
        number = len(nodules) + 1
        labels[tuple(chosen[free].T)] = number
        x, y, z = geometry.to_world(chosen.mean(0)[None])[0]
        volume = len(chosen) * float(np.prod(geometry.spacing))
        nodules.append(
            LidcNodule(
                number,
                len(group),
                (float(x), float(y), float(z)),
                (6 * volume / np.pi) ** (1 / 3),
            )
        )
    return labels, nodules


def _cluster(
    readers: list[int], voxels: list[set[tuple[int, int, int]]]
) -> list[list[int]]:
    """Groups of marks, each reader at most once in a group."""
    pairs = []
    for a in range(len(voxels)):
        for b in range(a + 1, len(voxels)):
            if readers[a] == readers[b]:
                continue
            common = len(voxels[a] & voxels[b])
            if common:
                smaller = min(len(voxels[a]), len(voxels[b]))
                pairs.append((common / smaller, a, b))
    group = {k: [k] for k in range(len(voxels))}
    for _, a, b in sorted(pairs, key=lambda p: (-p[0], p[1], p[2])):
        if group[a] is group[b]:
            continue
        joined = group[a] + group[b]
        if len({readers[k] for k in joined}) == len(joined):
            for k in joined:
                group[k] = joined
    seen, groups = set(), []
    for members in group.values():
        if id(members) not in seen:
            seen.add(id(members))
            groups.append(sorted(members))
    return groups
