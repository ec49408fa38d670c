"""One scan to one case: lungs, isotropic grid, crop, nodules carried along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from lungdet.errors import AnnotationError, GeometryError
from lungdet.geometry import (
    Geometry,
    box_of_mask,
    isotropic_geometry,
    move_boxes,
    resample_nearest,
)
from lungdet.prepare.lung_mask import LungField, find_lungs
from lungdet.prepare.resample import resample_linear
from lungdet.structures import Annotation, CaseNodule, CaseRecord, Volume

LUNG_MARGIN_MM = 12.0  # kept around the closed lungs
NODULE_MARGIN_MM = 8.0  # kept around every reference nodule
MAX_NODULES = 255  # numbers of a uint8 mask
MAX_CASE_VOXELS = 600_000_000


def prepare_case(
    volume: Volume,
    *,
    annotations: Sequence[Annotation],
    excluded: Sequence[Annotation],
    lungs: LungField | None = None,
    labels: np.ndarray | None = None,
    label_ids: Sequence[int | None] = (),
    boxes: Sequence[np.ndarray | None] = (),
    spacing_mm: float = 1.0,
    subset: int | None = None,
) -> tuple[CaseRecord, dict[str, np.ndarray]]:
    """Prepare a scan for training and testing.

    Args:
        volume: HU on the scan's grid.
        annotations: Reference nodules with diameters.
        excluded: Findings that are neither hit nor false positive.
        lungs: A lung field; None to segment it here.
        labels: Nodule numbers on the scan's grid, 0 background.
        label_ids: For each annotation its number in ``labels``, or None.
        boxes: For each annotation its edge box (6,) in the scan's voxels,
            or None for the cube of its diameter.
        spacing_mm: Isotropic spacing of the case.
        subset: LUNA16 subset.

    Returns:
        The record and the arrays ``image`` (int16 HU in [-1024, 3071]),
        ``lungs`` (uint8) and, where a nodule has one, ``mask`` (uint8).

    Raises:
        AnnotationError: A nodule outside the scan, or more than 255.
        GeometryError: A spacing that cannot be used.
    """
    _check_nodules(annotations, volume)
    lungs = lungs or find_lungs(volume)
    caveats = [*volume.caveats, *lungs.caveats]
    placed = _nodule_boxes(annotations, boxes, volume.geometry)
    drawn = _drawn_boxes(labels, label_ids, len(annotations))
    grid, widened = case_grid(
        volume.geometry, lungs, _union(placed, drawn), spacing_mm
    )
    if widened:
        caveats.append(
            f'{widened} reference nodules lie outside the lungs and their '
            f'{LUNG_MARGIN_MM:g} mm margin; the case was widened for them'
        )
    arrays = {
        'image': resample_linear(volume.array, volume.geometry, grid),
        'lungs': resample_nearest(
            lungs.mask.astype(np.uint8), lungs.geometry, grid, fill=None
        ),
    }
    nodules, mask = _place_nodules(
        annotations,
        placed,
        None if labels is None else (labels, label_ids, drawn),
        volume.geometry,
        grid,
    )
    if mask.any():
        arrays['mask'] = mask
    record = CaseRecord(
        series_uid=volume.series_uid,
        subset=subset,
        geometry=grid,
        source_geometry=volume.source_geometry or volume.geometry,
        spacing_mm=spacing_mm,
        nodules=nodules,
        excluded=list(excluded),
        lung_mask=lungs.source,
        caveats=caveats,
        patient_id=volume.patient_id,
    )
    return record, arrays


def _place_nodules(
    annotations: Sequence[Annotation],
    placed: np.ndarray,
    drawn: tuple[np.ndarray, Sequence[int | None], list] | None,
    source: Geometry,
    grid: Geometry,
) -> tuple[list[CaseNodule], np.ndarray]:
    """Nodules on the case's grid, and their numbers as a mask (z, y, x).

    Args:
        annotations: The nodules.
        placed: Their edge boxes (N, 6) on ``source``.
        drawn: Labels on ``source``, the label of each nodule, and its box;
            None without labels.
        source: Grid of the scan.
        grid: Grid of the case.
    """
    mask = np.zeros(grid.shape, dtype=np.uint8)
    labels, ids, boxes = drawn or (None, (), [None] * len(annotations))
    nodules = []
    for number, (found, place, box) in enumerate(
        zip(annotations, move_boxes(placed, source, grid), boxes), start=1
    ):
        seen = None
        if labels is not None and box is not None:
            own = (labels, ids[number - 1], box)
            seen = paint_nodule(mask, number, own, source, grid)
        nodules.append(
            CaseNodule(
                id=number,
                center_mm=found.center_mm,
                diameter_mm=float(found.diameter_mm or 0),
                box=tuple(place.tolist()),
                num_readers=found.num_readers,
                has_mask=seen is not None,
                mask_box=None if seen is None else tuple(seen.tolist()),
            )
        )
    return nodules, mask


def _check_nodules(annotations: Sequence[Annotation], volume: Volume) -> None:
    where = f'scan {volume.series_uid}'
    if len(annotations) > MAX_NODULES:
        raise AnnotationError(
            f'{where}: {len(annotations)} nodules; masks number at most '
            f'{MAX_NODULES}. Are the labels those of nodules?'
        )
    for number, found in enumerate(annotations, start=1):
        edge = volume.geometry.to_index(np.array([found.center_mm]))[0] + 0.5
        if (edge < 0).any() or (edge > volume.geometry.shape).any():
            raise AnnotationError(
                f'{where}: nodule {number} at {found.center_mm} mm lies '
                'outside the scan; centres are world mm (x, y, z) in LPS, '
                'in RAS x and y have the other sign. Correct the table.'
            )


def _nodule_boxes(
    annotations: Sequence[Annotation],
    boxes: Sequence[np.ndarray | None],
    geometry: Geometry,
) -> np.ndarray:
    """Edge boxes (N, 6) in the scan's voxels: as given, or of the sphere."""
    placed = geometry.sphere_box(
        np.array([a.center_mm for a in annotations]).reshape(-1, 3),
        np.array([a.diameter_mm or 0.0 for a in annotations]),
    )
    for number, box in enumerate(boxes):
        if box is not None:
            placed[number] = box
    return placed


def _drawn_boxes(
    labels: np.ndarray | None, ids: Sequence[int | None], count: int
) -> list[np.ndarray | None]:
    """Edge box in the scan's voxels of each annotation's label."""
    if labels is None or not ids:
        return [None] * count
    found = dict(enumerate(ndimage.find_objects(labels), start=1))
    drawn: list[np.ndarray | None] = []
    for label in ids:
        parts = None if label is None else found.get(label)
        drawn.append(
            None
            if parts is None
            else np.array(
                [*(p.start for p in parts), *(p.stop for p in parts)]
            )
        )
    return drawn


def _union(
    placed: np.ndarray, drawn: Sequence[np.ndarray | None]
) -> np.ndarray:
    both = placed.copy()
    for number, box in enumerate(drawn):
        if box is not None:
            both[number, :3] = np.minimum(both[number, :3], box[:3])
            both[number, 3:] = np.maximum(both[number, 3:], box[3:])
    return both


def case_grid(
    source: Geometry,
    lungs: LungField,
    boxes: np.ndarray,
    spacing_mm: float,
) -> tuple[Geometry, int]:
    """Grid of the case, and how many nodules had to widen it.

    The box of the lungs with 12 mm around, and of every nodule (an edge box
    in the scan's voxels) with 8 mm, inside the scan.

    Raises:
        GeometryError: A spacing that is not positive, or that would make
            more voxels than the limit.
    """
    whole = isotropic_geometry(source, spacing_mm)
    field = box_of_mask(lungs.mask)
    if field is None:
        field = np.array([0, 0, 0, *lungs.mask.shape], dtype=np.float64)
    ends = move_boxes(field[None], lungs.geometry, whole).reshape(2, 3)
    margin = LUNG_MARGIN_MM / spacing_mm
    low, high = ends.min(0) - margin, ends.max(0) + margin
    apart = NODULE_MARGIN_MM / spacing_mm * np.repeat([-1, 1], 3)
    widened = 0
    for box in move_boxes(boxes, source, whole) + apart:
        inside = np.clip(box, 0, np.tile(whole.shape, 2))
        if (inside[:3] < low).any() or (inside[3:] > high).any():
            widened += 1
            low, high = np.minimum(low, box[:3]), np.maximum(high, box[3:])
    low = np.clip(np.floor(low), 0, np.array(whole.shape) - 1).astype(int)
    high = np.clip(np.ceil(high), low + 1, whole.shape).astype(int)
    if np.prod((high - low).astype(float)) > MAX_CASE_VOXELS:
        raise GeometryError(
            f'spacing: {spacing_mm} mm makes a case of '
            f'{"x".join(map(str, high - low))} voxels (limit '
            f'{MAX_CASE_VOXELS:.2g}); give a larger spacing.'
        )
    return whole.crop(low, high - low), widened


def paint_nodule(
    mask: np.ndarray,
    number: int,
    drawn: tuple[np.ndarray, int | None, np.ndarray],
    source: Geometry,
    target: Geometry,
) -> np.ndarray | None:
    """Write one nodule's voxels into ``mask``; its box, None if it is empty.

    Linear interpolation of the binary mask, at least one half; voxels that
    another nodule has stay with it.

    Args:
        mask: On ``target``, changed here.
        number: The nodule's value in ``mask``.
        drawn: Labels on ``source``, the nodule's label, and its box there.
        source: Grid of the labels.
        target: Grid of ``mask``.
    """
    labels, label, box = drawn
    # one empty voxel around, where the scan has one, to interpolate into
    start = np.maximum(box[:3] - 1, 0)
    stop = np.minimum(box[3:] + 1, labels.shape)
    near = labels[tuple(slice(a, b) for a, b in zip(start, stop))] == label
    (ends,) = move_boxes(box[None], source, target)
    low = np.clip(np.floor(ends[:3]) - 2, 0, target.shape).astype(int)
    high = np.clip(np.ceil(ends[3:]) + 2, low, target.shape).astype(int)
    if (high <= low).any():
        return None
    scaled = near.astype(np.int16) * 1000  # fits the HU resampler's range
    inside = (
        resample_linear(
            scaled,
            source.crop(start, near.shape),
            target.crop(low, high - low),
        )
        >= 500
    )
    part = mask[tuple(slice(a, b) for a, b in zip(low, high))]
    inside &= part == 0
    part[inside] = number
    seen = box_of_mask(inside)
    return None if seen is None else seen + np.tile(low, 2)
