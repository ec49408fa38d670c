"""The reference nodule of an insertion."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry, box_of_mask, move_boxes
from lungdet.insertion.placement import Insertion, Placement
from lungdet.structures import CaseNodule


def target_nodule(
    placement: Placement,
    inserted: Insertion,
    grid: Geometry,
    case: Geometry,
    number: int,
) -> CaseNodule:
    """The reference nodule, with centre, diameter and mask box of the shape
    without blur.

    Args:
        placement: Placement on ``grid``.
        inserted: The shape rendered on ``grid``.
        grid: Grid of a crop or of the case.
        case: Grid of the case; boxes are in its voxels.
        number: Label of the nodule in the mask.
    """
    x, y, z = grid.to_world([placement.center])[0].tolist()
    diameter = inserted.diameter_mm
    (box,) = case.sphere_box([[x, y, z]], [diameter])
    of_mask = box_of_mask(inserted.inside)
    mask_box = None
    if of_mask is not None:
        start = np.tile([part.start for part in inserted.region], 2)
        (moved,) = move_boxes((of_mask + start)[None], grid, case)
        mask_box = tuple(moved.tolist())
    return CaseNodule(
        id=number,
        center_mm=(x, y, z),
        diameter_mm=diameter,
        box=tuple(box.tolist()),
        has_mask=mask_box is not None,
        mask_box=mask_box,
    )
