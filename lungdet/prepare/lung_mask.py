"""Segmentation of the lungs by thresholds on a coarse grid."""

from __future__ import annotations

import numpy as np

from lungdet.prepare.body_mask import find_body
from lungdet.prepare.closing import close_mask
from lungdet.prepare.coarse import coarse_means
from lungdet.prepare.lung_doubts import doubt_of_lungs, doubt_of_sides
from lungdet.prepare.lung_field import LungField, whole_body, whole_scan
from lungdet.prepare.lung_parts import CLOSING_MM, find_lung_parts
from lungdet.prepare.solid_lung import find_solid_lung
from lungdet.structures import Volume

MIN_BODY_ML = 2000.0


def find_lungs(volume: Volume) -> LungField:
    """Segment the lungs without weights.

    Body: the largest tissue component, its thin wall bridged, filled in each
    axial slice. Lungs: the large air components inside it that are neither
    airway nor bowel, closed by 12 mm, and solid lung that the other side
    indicates. A doubtful mask is replaced by the whole body, with a caveat
    that says why.

    Args:
        volume: HU, first array axis along the body.
    """
    hu, geometry = coarse_means(volume)
    if hu.size == 0:
        return whole_scan(volume, 'the scan is thinner than one coarse voxel')
    spacing = geometry.spacing
    body = find_body(hu, spacing)
    if body.inside.sum() * np.prod(spacing) / 1000 < MIN_BODY_ML:
        return whole_scan(volume, 'no body found')
    parts = find_lung_parts(hu, body, spacing)
    doubt = parts.doubt or doubt_of_lungs(
        parts.air, hu, body.to_sides if parts.caveats else body.inside, spacing
    )
    lungs, caveats = parts.closed, [*parts.caveats]
    if not doubt:
        solid = find_solid_lung(hu, lungs, body.inside, spacing)
        if solid.mask.any():
            lungs = close_mask(lungs | solid.mask, spacing, CLOSING_MM)
            lungs &= body.to_sides
        caveats += solid.caveats
        doubt = doubt_of_sides(lungs, body.to_sides)
    if doubt:
        return whole_body(body, geometry, doubt)
    return LungField(lungs, geometry, 'computed', caveats)
