"""One scan to one case: lungs, isotropic grid, crop, nodules carried along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.geometry import (
    Geometry,
    axis_positions,
    box_of_mask,
    isotropic_geometry,
)
from lungdet.io.case_store import CaseNodule, CaseRecord
from lungdet.prepare.lung_mask import LungField, find_lungs
from lungdet.structures import HU_MAX, HU_MIN, Annotation, Volume

LUNG_MARGIN_MM = 12.0  # kept around the closed lungs
NODULE_MARGIN_MM = 8.0  # kept around every reference nodule


def prepare_case(
    volume: Volume,
    *,
    annotations: Sequence[Annotation],
    excluded: Sequence[Annotation],
    lungs: LungField | None = None,
    labels: np.ndarray | None = None,
    label_ids: Sequence[int | None] = (),
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
        spacing_mm: Isotropic spacing of the case.
        subset: LUNA16 subset.

    Returns:
        The record and the arrays ``image`` (int16 HU in [-1024, 3071]),
        ``lungs`` (uint8) and, where a nodule has one, ``mask`` (uint8).
    """
    lungs = lungs or find_lungs(volume)
    warnings = [*volume.warnings, *lungs.warnings]
    grid, widened = case_grid(volume.geometry, lungs, annotations, spacing_mm)
    if widened:
        warnings.append(
            f'{widened} reference nodules lie outside the lungs and their '
            f'{LUNG_MARGIN_MM:g} mm margin; the case was widened for them'
        )
    arrays = {
        'image': resample_linear(volume.array, volume.geometry, grid),
        'lungs': resample_nearest(
            lungs.mask.astype(np.uint8), lungs.geometry, grid
        ),
    }
    mask = np.zeros(grid.shape, dtype=np.uint8)
    nodules = []
    for number, found in enumerate(annotations, start=1):
        source_id = label_ids[number - 1] if label_ids else None
        seen = None
        if labels is not None and source_id is not None:
            seen = paint_nodule(
                mask, number, labels == source_id, volume.geometry, grid
            )
        diameter = float(found.diameter_mm or 0)
        (box,) = grid.sphere_box(np.array([found.center_mm]), diameter)
        nodules.append(
            CaseNodule(
                id=number,
                center_mm=found.center_mm,
                diameter_mm=diameter,
                box=tuple(box.tolist()),
                num_readers=found.num_readers,
                has_mask=seen is not None,
                mask_box=None if seen is None else tuple(seen.tolist()),
            )
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
        warnings=warnings,
    )
    return record, arrays


def case_grid(
    source: Geometry,
    lungs: LungField,
    annotations: Sequence[Annotation],
    spacing_mm: float,
) -> tuple[Geometry, int]:
    """Grid of the case, and how many nodules had to widen it.

    The box of the lungs with 12 mm around, and of every nodule with 8 mm,
    inside the scan.
    """
    whole = isotropic_geometry(source, spacing_mm)
    field = box_of_mask(lungs.mask)
    if field is None:
        field = np.array([0, 0, 0, *lungs.mask.shape], dtype=np.float64)
    ends = field.reshape(2, 3) - 0.5
    ends = whole.to_index(lungs.geometry.to_world(ends)) + 0.5
    margin = LUNG_MARGIN_MM / spacing_mm
    low, high = ends.min(0) - margin, ends.max(0) + margin
    widened = 0
    for found in annotations:
        (box,) = whole.sphere_box(
            np.array([found.center_mm]),
            float(found.diameter_mm or 0) + 2 * NODULE_MARGIN_MM,
        )
        inside = np.clip(box, 0, np.tile(whole.shape, 2))
        if (inside[:3] < low).any() or (inside[3:] > high).any():
            widened += 1
            low, high = np.minimum(low, box[:3]), np.maximum(high, box[3:])
    low = np.clip(np.floor(low), 0, np.array(whole.shape) - 1).astype(int)
    high = np.clip(np.ceil(high), low + 1, whole.shape).astype(int)
    return whole.crop(low, high - low), widened


def _taps(
    positions: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper index and the upper's weight, clamped to the array."""
    positions = np.clip(positions, 0, size - 1)
    low = np.minimum(positions.astype(int), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    return low, high, (positions - low).astype(np.float32)


def resample_linear(
    array: np.ndarray, source: Geometry, target: Geometry
) -> np.ndarray:
    """Trilinear resampling between parallel grids, plane by plane.

    Two source planes at a time are held as floats, so memory stays near that
    of input and output. Beyond the source's edge its edge value holds.

    Returns:
        int16, rounded, clamped to [-1024, 3071] HU before interpolation.
    """
    zs, ys, xs = axis_positions(source, target)
    z0, z1, wz = _taps(zs, source.shape[0])
    y0, y1, wy = _taps(ys, source.shape[1])
    x0, x1, wx = _taps(xs, source.shape[2])
    out = np.empty(target.shape, dtype=np.int16)
    planes: dict[int, np.ndarray] = {}

    def plane(k: int) -> np.ndarray:
        if k not in planes:
            for old in [key for key in planes if key < k - 1]:
                del planes[old]
            rows = np.clip(array[k], HU_MIN, HU_MAX).astype(np.float32)
            rows = rows[y0] + wy[:, None] * (rows[y1] - rows[y0])
            planes[k] = rows[:, x0] + wx * (rows[:, x1] - rows[:, x0])
        return planes[k]

    for j in range(target.shape[0]):
        low, high = plane(z0[j]), plane(z1[j])
        out[j] = np.rint(low + wz[j] * (high - low))
    return out


def resample_nearest(
    array: np.ndarray, source: Geometry, target: Geometry
) -> np.ndarray:
    """Nearest voxel between parallel grids; the edge value beyond."""
    index = [
        np.clip(np.rint(p), 0, n - 1).astype(int)
        for p, n in zip(axis_positions(source, target), source.shape)
    ]
    return array[np.ix_(*index)]


def paint_nodule(
    mask: np.ndarray,
    number: int,
    nodule: np.ndarray,
    source: Geometry,
    target: Geometry,
) -> np.ndarray | None:
    """Write one nodule's voxels into ``mask``; its box, None if it is empty.

    Linear interpolation of the binary mask, at least one half; voxels that
    another nodule has stay with it.
    """
    box = box_of_mask(nodule)
    if box is None:
        return None
    ends = target.to_index(source.to_world(box.reshape(2, 3) - 0.5)) + 0.5
    low = np.clip(np.floor(ends.min(0)) - 2, 0, target.shape).astype(int)
    high = np.clip(np.ceil(ends.max(0)) + 2, low, target.shape).astype(int)
    if (high <= low).any():
        return None
    window = target.crop(low, high - low)
    scaled = nodule.astype(np.int16) * 1000  # fits the HU resampler's range
    inside = resample_linear(scaled, source, window) >= 500
    region = tuple(slice(a, b) for a, b in zip(low, high))
    part = mask[region]
    inside &= part == 0
    part[inside] = number
    return box_of_mask(mask == number)
