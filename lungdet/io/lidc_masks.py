"""Nodule masks from the readers' outlines of a series.

Contours are filled by the even-odd rule. The pixels of a contour are just
outside the nodule: they do not belong to the inside of a contour with
inclusion TRUE, and are removed with one of inclusion FALSE (a hole).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, sphere_diameter
from lungdet.io.lidc import MAX_PIXEL, LidcReading, NoduleOutline

MODES = ('half', 'union')
MIN_READERS = 3  # of the four, as LUNA16
SLICE_TOL = 0.25  # of a slice: how far a contour may lie beside one
EDGES_AT_ONCE = 4096  # of a contour that is filled


@dataclass(frozen=True)
class LidcNodule:
    """Outlines of several readers that are one nodule.

    Attributes:
        id: Its value in the labels, from 1.
        num_readers: Who outlined it.
        center_mm: Centre of mass of the consensus, x, y, z.
        diameter_mm: Diameter of the sphere with the volume of the consensus.
    """

    id: int
    num_readers: int
    center_mm: tuple[float, float, float]
    diameter_mm: float


def check_consensus(min_readers: int, mode: str) -> None:
    """Refuse an unknown consensus.

    Raises:
        AnnotationError: An unknown mode, or fewer than one reader.
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
    """Join the readers' outlines and take their consensus.

    Outlines join by overlap (common voxels / smaller outline), the largest
    overlap first, and never two outlines of one reader.

    Args:
        reading: As returned by ``read_lidc_xml``.
        geometry: The scan's grid, as its file states it, axis-parallel.
        min_readers: Readers a nodule needs.
        mode: ``'half'``: voxels that at least half of the readers who
            outlined it drew; ``'union'``: any reader.

    Returns:
        uint8 labels (z, y, x) and the nodules, from 1. Where two nodules
        overlap, the first one is kept.

    Raises:
        AnnotationError: An unknown consensus, or a contour that is not in a
            slice of the scan.
    """
    check_consensus(min_readers, mode)
    voxels = [
        outline_voxels(outline, geometry) for outline in reading.outlines
    ]
    readers = [outline.reader for outline in reading.outlines]
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    nodules: list[LidcNodule] = []
    for group in group_outlines(readers, voxels):
        if len(group) < min_readers:
            continue
        chosen, counts = np.unique(
            np.concatenate([voxels[k] for k in group]),
            axis=0,
            return_counts=True,
        )
        if mode == 'half':
            chosen = chosen[counts >= len(group) / 2]
        if not len(chosen):
            continue
        number = len(nodules) + 1
        free = chosen[labels[tuple(chosen.T)] == 0]
        labels[tuple(free.T)] = number
        x, y, z = geometry.to_world(chosen.mean(0))[0].tolist()
        volume_mm3 = len(chosen) * float(np.prod(geometry.spacing))
        diameter = sphere_diameter(volume_mm3)
        nodules.append(LidcNodule(number, len(group), (x, y, z), diameter))
    return labels, nodules


def outline_voxels(outline: NoduleOutline, geometry: Geometry) -> np.ndarray:
    """Voxels (n, 3) z, y, x of one reader's nodule on the scan's grid.

    Raises:
        AnnotationError: A contour is not in a slice of the scan.
    """
    x, y, _ = geometry.origin
    heights = [(x, y, contour.z_mm) for contour in outline.contours]
    slices = geometry.to_index(heights)[:, 0]
    planes: dict[int, np.ndarray] = {}
    holes: list[tuple[int, np.ndarray]] = []
    for contour, index in zip(outline.contours, slices):
        k = round(index)
        if abs(index - k) > SLICE_TOL or not 0 <= k < geometry.shape[0]:
            raise AnnotationError(
                f'nodule {outline.nodule}: outline at z = {contour.z_mm} mm '
                'lies in no slice of the scan; the XML belongs to another '
                'series.'
            )
        if np.abs(contour.points).max(initial=0) > MAX_PIXEL:
            raise AnnotationError(
                f'nodule {outline.nodule}: an outline at z = {contour.z_mm} '
                f'mm goes through pixel {np.abs(contour.points).max()}, which '
                'no image has; it is damaged. Restore the XML.'
            )
        filled = fill_contour(
            contour.points,
            geometry.shape[1:],
            with_contour=not contour.inclusion,
        )
        if contour.inclusion:
            planes[k] = planes.get(k, False) | filled
        else:
            holes.append((k, filled))
    for k, hole in holes:
        if k in planes:
            planes[k] &= ~hole
    pixels = [
        np.insert(np.argwhere(plane), 0, k, axis=1)
        for k, plane in planes.items()
    ]
    return np.concatenate([np.zeros((0, 3), dtype=int), *pixels])


def fill_contour(
    points: np.ndarray, shape: tuple[int, int], *, with_contour: bool
) -> np.ndarray:
    """Fill a closed contour by the even-odd rule.

    Args:
        points: (n, 2) columns and rows, whole numbers, in order along the
            line.
        shape: Rows and columns.
        with_contour: Whether the pixels on the line belong to it.

    Returns:
        Boolean (rows, columns).
    """
    filled = np.zeros(shape, dtype=bool)
    low = np.clip(points.min(0), 0, None)
    width, height = np.minimum(points.max(0) + 1, shape[::-1]) - low
    if width <= 0 or height <= 0:
        return filled
    box = (int(height), int(width))
    inside = np.zeros((box[0], box[1] + 1), dtype=np.int32)
    on_line = np.zeros(box, dtype=bool)
    closed = np.concatenate([points, points[:1]]).astype(np.int64) - low
    for k in range(0, len(points), EDGES_AT_ONCE):
        start = closed[k : k + EDGES_AT_ONCE + 1]
        row, column = _crossings(start[:-1], start[1:], box)
        np.add.at(inside, (row, column), 1)
        row, column = _pixels_on_line(start[:-1], start[1:], box)
        on_line[row, column] = True
    # a crossing toggles every pixel to its left
    turns = inside[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
    odd = turns % 2 == 1
    part = (odd | on_line) if with_contour else (odd & ~on_line)
    filled[low[1] : low[1] + height, low[0] : low[0] + width] = part
    return filled


def _crossings(
    start: np.ndarray, end: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that edges cross, and the first column right of each crossing.

    Args:
        start: First points (n, 2) of the edges, columns and rows.
        end: Their last points.
        shape: Rows and columns of the image.

    Returns:
        Rows in the image, columns from 0 to the number of columns.
    """
    low, high = (
        np.minimum(start[:, 1], end[:, 1]),
        np.maximum(start[:, 1], end[:, 1]),
    )
    edge, row = _ranges(np.maximum(low, 0), np.minimum(high, shape[0]))
    (x0, y0), (dx, dy) = start[edge].T, (end - start)[edge].T
    # the first whole x at or above x0 + (row - y0) * dx / dy
    column = x0 - (row - y0) * -dx // dy
    return row, np.clip(column, 0, shape[1])


def _pixels_on_line(
    start: np.ndarray, end: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that edges go through exactly."""
    delta = end - start
    steps = np.gcd(delta[:, 0], delta[:, 1])
    dx, dy = (delta // np.maximum(steps, 1)[:, None]).T
    # positions along the edge that lie in the image, by the axis that moves
    by_row = dy != 0
    first = np.where(by_row, start[:, 1], start[:, 0])
    step = np.where(by_row, dy, dx)
    size = np.where(by_row, shape[0], shape[1])
    sign, width = np.sign(step), np.maximum(np.abs(step), 1)
    near = np.where(sign < 0, size - 1 - first, first) * np.abs(sign)
    enter = np.clip(-(near // width), 0, None)
    leave = np.minimum((size - 1 - near) // width, steps)
    edge, k = _ranges(enter, leave + 1)
    row = start[edge, 1] + k * dy[edge]
    column = start[edge, 0] + k * dx[edge]
    inside = (
        (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    )
    return row[inside], column[inside]


def _ranges(
    start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Index k and every value of range(start[k], end[k]), for all k."""
    count = np.maximum(end - start, 0)
    index = np.repeat(np.arange(len(start)), count)
    before = np.cumsum(count) - count
    return index, np.arange(count.sum()) - before[index] + start[index]


def group_outlines(
    readers: Sequence[int], voxels: Sequence[np.ndarray]
) -> list[list[int]]:
    """Join overlapping outlines, each reader at most once in a group.

    Args:
        readers: Who drew each outline.
        voxels: Its voxels (n, 3).

    Returns:
        Indices of the outlines of each nodule, in order.
    """
    sets = [set(map(tuple, points.tolist())) for points in voxels]
    overlaps = []
    for b in range(len(sets)):
        for a in range(b):
            common = len(sets[a] & sets[b])
            if common and readers[a] != readers[b]:
                smaller = min(len(sets[a]), len(sets[b]))
                overlaps.append((-common / smaller, a, b))
    groups = {k: [k] for k in range(len(sets))}
    for _, a, b in sorted(overlaps):
        if groups[a] is groups[b]:
            continue
        joined = sorted(groups[a] + groups[b])
        if len({readers[k] for k in joined}) == len(joined):
            groups.update(dict.fromkeys(joined, joined))
    return [group for k, group in groups.items() if group[0] == k]
