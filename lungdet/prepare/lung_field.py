"""The lungs of a scan, or what replaces them where they are not known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lungdet.geometry import Geometry, occupied
from lungdet.prepare.body_mask import BodyMasks
from lungdet.prepare.closing import close_mask
from lungdet.prepare.lung_parts import CLOSING_MM
from lungdet.structures import Volume


@dataclass(frozen=True)
class LungField:
    """The lungs of a scan.

    Attributes:
        mask: Boolean (z, y, x) on ``geometry``.
        geometry: Coarse grid, or that of a given mask.
        source: ``'computed'``, ``'given'``, or ``'failed'``: then ``mask``
            is the whole body, or the whole volume if no body was found.
        caveats: Why it failed, or what is unusual.
        numbers: (z, y, x) on ``geometry``, one number in each lung and 0
            outside, where a given mask tells them apart.
    """

    mask: np.ndarray
    geometry: Geometry
    source: str
    caveats: list[str] = field(default_factory=list)
    numbers: np.ndarray | None = None


def whole_body(body: BodyMasks, geometry: Geometry, reason: str) -> LungField:
    """The body, with what an open wall may have cut off; the reason is a
    caveat."""
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


def whole_scan(volume: Volume, reason: str) -> LungField:
    """The whole volume as one voxel; the reason is a caveat."""
    return LungField(
        np.ones((1, 1, 1), dtype=bool),
        volume.geometry.coarsened(np.maximum(volume.geometry.shape, 1)),
        'failed',
        [f'lungs not found ({reason}); the whole scan is kept'],
    )
