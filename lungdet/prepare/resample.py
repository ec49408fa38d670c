"""Resampling of HU, lungs and nodule masks between parallel grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.geometry import (
    Geometry,
    Region,
    axis_positions,
    box_of_mask,
    interpolate_axis,
    lerp,
    linear_taps,
    move_boxes,
)
from lungdet.hounsfield import HU_MAX, HU_MIN
from lungdet.prepare.lung_field import LungField
from lungdet.prepare.references import NoduleMask, ReferenceNodule

INSIDE = 1000  # value of a mask's voxels; in the range of clipped HU


def resample_linear(
    array: np.ndarray, source: Geometry, target: Geometry
) -> np.ndarray:
    """Trilinear resampling between parallel grids, plane by plane.

    Only two source planes at a time are floats, so memory stays near that of
    input and output. Outside the source its edge value is used.

    Args:
        array: HU (z, y, x) on ``source``.
        source: Grid of the array.
        target: Grid of the result, its axes parallel to those of ``source``.

    Returns:
        int16 of shape ``target.shape``, rounded; HU are clipped to [-1024,
        3071] before interpolation.
    """
    zs, ys, xs = axis_positions(source, target)
    below, above, weights = linear_taps(zs, source.shape[0])
    out = np.empty(target.shape, dtype=np.int16)
    planes: dict[int, np.ndarray] = {}

    def plane(k: int) -> np.ndarray:
        if k not in planes:
            for old in [key for key in planes if key < k - 1]:
                del planes[old]
            rows = interpolate_axis(np.clip(array[k], HU_MIN, HU_MAX), ys, 0)
            planes[k] = interpolate_axis(rows, xs, 1)
        return planes[k]

    for new, low, high, weight in zip(out, below, above, weights):
        new[:] = np.rint(lerp(plane(low), plane(high), weight))
    return out


def resample_lungs(lungs: LungField, target: Geometry) -> np.ndarray:
    """A lung field on another grid: nearest voxel, edge values outside.

    Halves round to the even voxel, not up as in ``geometry.resample_nearest``:
    with 2.5 mm slices every fifth slice of a case is halfway between two, and
    a case that is prepared again must not change.

    Args:
        lungs: The lung field.
        target: Grid of the case, its axes parallel.

    Returns:
        uint8 (z, y, x), 1 in the lungs.
    """
    nearest = [
        np.clip(np.rint(positions), 0, size - 1).astype(int)
        for positions, size in zip(
            axis_positions(lungs.geometry, target), lungs.mask.shape
        )
    ]
    return lungs.mask[np.ix_(*nearest)].astype(np.uint8)


def number_masks(
    nodules: Sequence[ReferenceNodule], source: Geometry, grid: Geometry
) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """The nodules' masks as one array of their numbers.

    Args:
        nodules: With masks on ``source``, or without.
        source: Grid of the scan.
        grid: Grid of the case.

    Returns:
        uint8 (z, y, x) of numbers from 1, the first one where two overlap; and
        for each nodule the edge box (6,) of its voxels, None if there are
        none.
    """
    numbers = np.zeros(grid.shape, dtype=np.uint8)
    boxes: list[np.ndarray | None] = []
    for number, nodule in enumerate(nodules, start=1):
        if nodule.mask is None:
            boxes.append(None)
            continue
        region, voxels = _resample_mask(nodule.mask, source, grid)
        free = voxels & (numbers[region] == 0)
        numbers[region][free] = number
        box = box_of_mask(free)
        start = np.tile([part.start for part in region], 2)
        boxes.append(None if box is None else box + start)
    return numbers, boxes


def _resample_mask(
    mask: NoduleMask, source: Geometry, target: Geometry
) -> tuple[Region, np.ndarray]:
    """One nodule's voxels on another grid.

    Linear interpolation of the binary mask, at least one half.

    Args:
        mask: On ``source``.
        source: Grid of the scan.
        target: Grid of the case, its axes parallel.

    Returns:
        Slices (z, y, x) of ``target`` around the nodule and the voxels there,
        boolean; empty outside the grid.
    """
    start, stop = mask.box[:3].astype(int), mask.box[3:].astype(int)
    # one empty voxel around, if the scan has one, for interpolation
    before = np.minimum(start, 1)
    after = np.minimum(np.array(source.shape) - stop, 1)
    padded = np.pad(mask.voxels, np.stack([before, after], axis=1))
    (ends,) = move_boxes(mask.box[None], source, target)
    low = np.clip(np.floor(ends[:3]) - 2, 0, target.shape).astype(int)
    high = np.clip(np.ceil(ends[3:]) + 2, low, target.shape).astype(int)
    values = resample_linear(
        padded.astype(np.int16) * INSIDE,
        source.crop(start - before, padded.shape),
        target.crop(low, high - low),
    )
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high))
    return (z, y, x), values >= INSIDE / 2
