"""Segmentation of the lungs by thresholds on a coarse grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lungdet.geometry import Geometry
from lungdet.prepare.body_mask import Body, find_body
from lungdet.prepare.coarse import close_mask, coarse_means, occupied
from lungdet.prepare.lung_doubts import doubt_of_lungs, doubt_of_sides
from lungdet.prepare.lung_parts import CLOSING_MM, find_lung_parts
from lungdet.prepare.solid_lung import find_solid_lung
from lungdet.structures import Volume

MIN_BODY_ML = 2000.0


@dataclass(frozen=True)
class LungField:
    """The lungs of a scan. Attributes:
    mask: Boolean (z, y, x) on ``geometry``.
    geometry: Coarse grid, or that of a given mask.
    source: ``'computed'``, ``'given'``, or ``'failed'``: then ``mask``
        is the whole body, or the whole volume if no body was found.
    caveats: Why it failed, or what is unusual.
    """

    mask: np.ndarray
    geometry: Geometry
    source: str
    caveats: list[str] = field(default_factory=list)


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
        return _whole_scan(volume, 'the scan is thinner than one coarse voxel')
    spacing = geometry.spacing
    body = find_body(hu, spacing)
    if body.inside.sum() * np.prod(spacing) / 1000 < MIN_BODY_ML:
        return _whole_scan(volume, 'no body found')
    parts = find_lung_parts(hu, body, spacing)
    doubt = parts.doubt or doubt_of_lungs(
        parts.air, hu, body.to_sides if parts.caveats else body.inside, spacing
    )
    if doubt:
        return _whole_body(body, geometry, doubt)
    solid = find_solid_lung(hu, parts.closed, body.inside, spacing)
    lungs = parts.closed
    if solid.mask.any():
        lungs = close_mask(lungs | solid.mask, spacing, CLOSING_MM)
        lungs &= body.to_sides
    doubt = doubt_of_sides(lungs, body.to_sides)
    if doubt:
        return _whole_body(body, geometry, doubt)
    caveats = [*parts.caveats, *solid.caveats]
    return LungField(lungs, geometry, 'computed', caveats)


def _whole_body(body: Body, geometry: Geometry, reason: str) -> LungField:
    """The body and what its wall may have lost, the reason as a caveat."""
    mask = body.to_sides.copy()
    region = (slice(None), occupied(mask, 1), occupied(mask, 2))
    mask[region] |= ~body.outside[region]
    mask = close_mask(mask, geometry.spacing, CLOSING_MM)
    return LungField(
        mask,
        geometry,
        'failed',
        [f'lungs not found ({reason}); the whole body is kept'],
    )


def _whole_scan(volume: Volume, reason: str) -> LungField:
    """The whole volume as one voxel; the reason is a caveat."""
    return LungField(
        np.ones((1, 1, 1), dtype=bool),
        volume.geometry.coarsened(np.maximum(volume.geometry.shape, 1)),
        'failed',
        [f'lungs not found ({reason}); the whole scan is kept'],
    )
