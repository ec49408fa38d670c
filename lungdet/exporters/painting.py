"""The masks of all detections as one label image."""

from __future__ import annotations

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
    for number, detection in reversed([*result.numbered()]):
        if detection.mask is None or detection.mask_box is None:
            continue
        crop = result.geometry.crop(
            detection.mask_box[:3], detection.mask.shape
        )
        region, inside = resample_label_crop(detection.mask, crop, grid)
        labels[region][inside] = number
    return labels
