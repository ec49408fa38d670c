"""The grid of a case: the part of a scan that is kept."""

from __future__ import annotations

import numpy as np

from lungdet.errors import GeometryError
from lungdet.geometry import (
    Geometry,
    box_of_mask,
    clip_boxes,
    enclosing_box,
    isotropic_geometry,
    move_boxes,
)
from lungdet.prepare.lung_field import LungField

CROP_MARGIN_MM = 12.0  # kept around the closed lungs
NODULE_MARGIN_MM = 8.0  # kept around every reference nodule
MAX_CASE_VOXELS = 600_000_000


def case_grid(
    source: Geometry,
    lungs: LungField,
    boxes: np.ndarray,
    spacing_mm: float,
) -> tuple[Geometry, list[str]]:
    """Grid of a case: lungs and nodules with a margin, inside the scan.

    Args:
        source: Grid of the scan.
        lungs: Kept with 12 mm around its box.
        boxes: Edge boxes (N, 6) of the nodules in the scan's voxels, each
            kept with 8 mm around.
        spacing_mm: Isotropic spacing.

    Returns:
        The grid, and a caveat if nodules made it larger than the lungs need.

    Raises:
        GeometryError: A spacing that is not positive, or that gives more
            voxels than the limit.
    """
    whole = isotropic_geometry(source, spacing_mm)
    outwards = np.repeat([-1, 1], 3)
    kept = _lung_box(lungs, whole) + CROP_MARGIN_MM / spacing_mm * outwards
    margin = NODULE_MARGIN_MM / spacing_mm * outwards
    widened = 0
    for box in move_boxes(boxes, source, whole) + margin:
        inside = clip_boxes(box, whole.shape)
        if (enclosing_box(np.stack([kept, inside])) != kept).any():
            widened += 1
            kept = enclosing_box(np.stack([kept, box]))
    low = np.clip(np.floor(kept[:3]), 0, np.array(whole.shape) - 1).astype(int)
    high = np.clip(np.ceil(kept[3:]), low + 1, whole.shape).astype(int)
    _check_size(high - low, spacing_mm)
    caveats = []
    if widened:
        caveats.append(
            f'{widened} reference nodules lie outside the lungs and their '
            f'{CROP_MARGIN_MM:g} mm margin; the case was widened for them'
        )
    return whole.crop(low, high - low), caveats


def _lung_box(lungs: LungField, whole: Geometry) -> np.ndarray:
    """Edge box (6,) of the lungs in voxels of a grid."""
    box = box_of_mask(lungs.mask)
    if box is None:
        box = np.array([0, 0, 0, *lungs.mask.shape], dtype=np.float64)
    return move_boxes(box, lungs.geometry, whole)[0]


def _check_size(size: np.ndarray, spacing_mm: float) -> None:
    if np.prod(size.astype(float)) > MAX_CASE_VOXELS:
        raise GeometryError(
            f'spacing: {spacing_mm} mm makes a case of '
            f'{"x".join(map(str, size))} voxels (limit '
            f'{MAX_CASE_VOXELS:.2g}); give a larger spacing.'
        )
