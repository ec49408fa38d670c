"""Masks as a label image on the scan's own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.geometry import Geometry, resample_label_crop
from lungdet.io.image import write_image
from lungdet.structures import SeriesResult

MASKS = 'masks.nii.gz'


def write_nifti(folder: Path, scan: ExportInput) -> list[str]:
    """Write the label image; nothing where no detection has a mask."""
    if all(d.mask is None for d in scan.result.detections):
        return []
    grid = scan.result.scan_geometry
    write_image(folder / MASKS, paint_masks(scan.result, grid), grid)
    return [MASKS]


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


EXPORTER = Exporter([MASKS], write_nifti)
