"""The masks of all detections as one label image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lungdet.geometry import Geometry, resample_label_crop
from lungdet.structures import SeriesResult


def paint_masks(result: SeriesResult, grid: Geometry) -> np.ndarray:
    """Number the detections' masks on another grid, nearest voxel.

    Args:
        result: Detections with masks on ``result.geometry``.
        grid: Grid of the labels, such as the scan's.

    Returns:
        (z, y, x), uint8, or uint16 beyond 255 detections; k where detection k
        (from 1, best first) is; where two overlap, the better one is kept.
    """
    few = len(result.detections) <= np.iinfo(np.uint8).max
    labels = np.zeros(grid.shape, dtype=np.uint8 if few else np.uint16)
    for number, region, inside in reversed([*_masks_on(result, grid)]):
        labels[region][inside] = number
    return labels


def unpainted_caveats(result: SeriesResult, grid: Geometry) -> list[str]:
    """What ``paint_masks`` cannot show: voxels of overlaps, and masks without
    a voxel.

    Args:
        result: As given to ``paint_masks``.
        grid: The same.

    Returns:
        A caveat, or none if every voxel of every mask has its number.
    """
    labels = paint_masks(result, grid)
    incomplete = []
    for number, region, inside in _masks_on(result, grid):
        whole = np.count_nonzero(inside)
        kept = np.count_nonzero(labels[region][inside] == number)
        if kept < whole or not whole:
            incomplete.append(f'{kept} of {whole} voxels of nodule {number}')
    if not incomplete:
        return []
    return [
        'the label image gives each voxel to one nodule, where masks overlap '
        f'to the better one: it holds {", ".join(incomplete)}'
    ]


def _masks_on(
    result: SeriesResult, grid: Geometry
) -> Iterator[tuple[int, tuple[slice, slice, slice], np.ndarray]]:
    """Number of each detection with a mask, and its mask in a region of a
    grid."""
    for number, detection in result.numbered():
        if detection.mask is None or detection.mask_box is None:
            continue
        crop = result.geometry.crop(
            detection.mask_box[:3], detection.mask.shape
        )
        region, inside = resample_label_crop(detection.mask, crop, grid)
        yield number, region, inside > 0
