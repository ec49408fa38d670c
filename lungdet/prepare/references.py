"""Reference nodules of a scan: tables, boxes, outlines, label images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, reorient
from lungdet.io.image import read_image
from lungdet.io.lidc import read_lidc_xml
from lungdet.io.lidc_masks import MIN_READERS, LidcNodule, consensus_masks
from lungdet.io.luna16 import has_column, read_numbers
from lungdet.structures import Annotation, Volume

BOX_COLUMNS = ('x1', 'y1', 'z1', 'x2', 'y2', 'z2')
TOUCHING = np.ones((3, 3, 3))  # voxels of one part, also by their corners
WorldBox = tuple[float, float, float, float, float, float]


@dataclass
class References:
    """What ``prepare_case`` has to know about a scan's nodules.

    Attributes:
        annotations: Centres and diameters.
        labels: Nodule numbers on the scan's grid, None without masks.
        ids: For each annotation its number in ``labels``, or None.
        boxes: For each annotation its edge box in the scan's voxels, or
            None for the cube of its diameter.
    """

    annotations: list[Annotation]
    labels: np.ndarray | None = None
    ids: list[int | None] = field(default_factory=list)
    boxes: list[np.ndarray | None] = field(default_factory=list)


def has_boxes(path: Path) -> bool:
    """Whether a table's header names corners and not diameters."""
    return all(has_column(path, name) for name in BOX_COLUMNS)


def read_boxes(path: Path) -> dict[str, list[WorldBox]]:
    """World boxes (x1, y1, z1, x2, y2, z2) mm, LPS, by series uid.

    Raises:
        AnnotationError: A row that cannot be right; says file and line.
    """
    table: dict[str, list[WorldBox]] = {}
    rows = read_numbers(path, ('seriesuid', *BOX_COLUMNS))
    for line, uid, (x1, y1, z1, x2, y2, z2) in rows:
        if not (x1 < x2 and y1 < y2 and z1 < z2):
            raise AnnotationError(
                f'{path}:{line}: the box {x1:g}..{x2:g}, {y1:g}..{y2:g}, '
                f'{z1:g}..{z2:g} mm has no volume; corner 1 is the lower '
                'one along every axis. Correct the row.'
            )
        table.setdefault(uid, []).append((x1, y1, z1, x2, y2, z2))
    return table


def of_boxes(boxes: Sequence[WorldBox], geometry: Geometry) -> References:
    """Nodules from world boxes; the diameter has the box's volume."""
    found = References([])
    for x1, y1, z1, x2, y2, z2 in boxes:
        sides = (x2 - x1) * (y2 - y1) * (z2 - z1)
        found.annotations.append(
            Annotation(
                ((x1 + x2) / 2, (y1 + y2) / 2, (z1 + z2) / 2),
                sides ** (1 / 3),
            )
        )
        corners = np.array(
            [(x, y, z) for x in (x1, x2) for y in (y1, y2) for z in (z1, z2)]
        )
        edges = geometry.to_index(corners) + 0.5
        found.boxes.append(np.concatenate([edges.min(0), edges.max(0)]))
    return found


def of_label_image(path: Path, volume: Volume) -> References:
    """Nodules from a label image on the scan's grid, numbered anew.

    Of an image with one label each part is a nodule, parts being joined by
    faces, edges or corners. With several labels each is one, and parts of it
    become a warning of the scan.

    Raises:
        AnnotationError: Another grid, values that number nothing, or more
            than 255 nodules.
    """
    image = read_image(path)
    labels, grid = reorient(image.array, image.geometry)
    if not grid.is_close(volume.geometry, tol_mm=1e-2):
        raise AnnotationError(
            f'{path}: its grid is not that of the scan; resample the mask to '
            'the scan.'
        )
    low, top = labels.min(initial=0), labels.max(initial=0)
    if not (low >= 0 and top <= np.iinfo(np.int32).max):  # nor NaN
        raise AnnotationError(
            f'{path}: values {low:g}..{top:g} number no '
            'nodules; use 0 for the background and 1, 2, ... for nodules.'
        )
    whole = labels.astype(np.int32, copy=False)
    if (whole != labels).any():
        raise AnnotationError(
            f'{path}: values between whole numbers; give labels, not '
            'probabilities.'
        )
    return _of_labels(whole, volume, path)


def _of_labels(labels: np.ndarray, volume: Volume, path: Path) -> References:
    values = np.flatnonzero(np.bincount(labels[labels > 0].ravel()))
    if len(values) == 1:  # a binary mask, of one nodule or of several
        labels, parts = ndimage.label(labels, TOUCHING)
        values = np.arange(1, parts + 1)
        if parts > 1:
            volume.caveats.append(
                f'the only label of {path.name} has {parts} parts, each of '
                'which became a nodule'
            )
    if len(values) > 255:
        raise AnnotationError(
            f'{path}: {len(values)} nodules; a case holds at most 255. Are '
            'the labels those of nodules?'
        )
    order = np.zeros(values.max(initial=0) + 1, dtype=np.uint8)
    order[values] = np.arange(1, len(values) + 1)
    found = References([], order[labels])
    voxel_mm3 = float(np.prod(volume.geometry.spacing))
    assert found.labels is not None
    for label, region in enumerate(ndimage.find_objects(found.labels), 1):
        start = np.array([part.start for part in region])
        stop = np.array([part.stop for part in region])
        own = found.labels[region] == label
        if (parts := ndimage.label(own, TOUCHING)[1]) > 1:
            volume.caveats.append(
                f'label {values[label - 1]} of {path.name} has {parts} '
                'parts and stays one nodule'
            )
        points = np.argwhere(own) + start
        x, y, z = volume.geometry.to_world(points.mean(0)[None])[0]
        diameter = (6 * len(points) * voxel_mm3 / np.pi) ** (1 / 3)
        found.annotations.append(
            Annotation((float(x), float(y), float(z)), float(diameter))
        )
        found.ids.append(label)
        found.boxes.append(np.concatenate([start, stop]).astype(float))
    return found


def of_outlines(
    path: Path,
    annotations: Sequence[Annotation],
    volume: Volume,
    *,
    min_readers: int = MIN_READERS,
    mode: str = 'half',
) -> References:
    """A table's nodules with the masks that the readers drew for them.

    Rows without a mask and masks without a row become caveats. The study
    stands for the patient of a scan whose header names none.
    """
    found = References(list(annotations), None, [None] * len(annotations))
    reading = read_lidc_xml(path)
    if reading is None:
        volume.caveats.append(f'{path.name}: of an X-ray, no outlines')
        return found
    # outlines are pixels of the file's own grid; a turned scan's turn too
    drawn = volume.source_geometry or volume.geometry
    labels, nodules = consensus_masks(
        reading, drawn, min_readers=min_readers, mode=mode
    )
    volume.patient_id = volume.patient_id or reading.study_uid
    found.labels, _ = reorient(labels, drawn)
    found.ids = match_nodules(
        annotations, nodules, found.labels, volume.geometry
    )
    readers = {nodule.id: nodule.num_readers for nodule in nodules}
    for number, (row, label) in enumerate(zip(annotations, found.ids)):
        if label is None:
            volume.caveats.append(
                f'nodule {number + 1} at {row.center_mm} has no outline of '
                f'{min_readers} readers and stays without mask'
            )
        else:
            found.annotations[number] = Annotation(
                row.center_mm, row.diameter_mm, readers[label]
            )
    unused = sorted(set(readers) - set(found.ids))
    if unused:
        volume.caveats.append(
            f'{len(unused)} outlined nodules of {min_readers} readers are '
            'not in the table and were left out'
        )
    return found


def match_nodules(
    annotations: Sequence[Annotation],
    nodules: Sequence[LidcNodule],
    labels: np.ndarray,
    geometry: Geometry,
) -> list[int | None]:
    """For each annotation the outlined nodule that it is, or None.

    First the mask that holds the annotation's centre, then the nearest
    centre within the radius; no mask serves two annotations.
    """
    pairs = []
    last = np.array(labels.shape) - 1
    for row, found in enumerate(annotations):
        index = geometry.to_index(np.array([found.center_mm]))[0]
        at = np.clip(np.rint(index), 0, last).astype(int)
        under = int(labels[tuple(at)])
        for nodule in nodules:
            apart = math.dist(found.center_mm, nodule.center_mm)
            inside = nodule.id == under
            if inside or apart <= (found.diameter_mm or 0) / 2:
                pairs.append((not inside, apart, row, nodule.id))
    ids: list[int | None] = [None] * len(annotations)
    for _, _, row, label in sorted(pairs):
        if ids[row] is None and label not in ids:
            ids[row] = label
    return ids
