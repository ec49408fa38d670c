"""Insertion of drawn nodules and shams into an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.geometry import Geometry
from lungdet.insertion.blend import scan_profiles
from lungdet.insertion.draw import donor_of
from lungdet.insertion.placement import Insertion, Placement, render_insertion
from lungdet.insertion.source import NoduleSource


def insert(
    image: np.ndarray,
    placements: Sequence[Placement],
    source: NoduleSource,
    grid: Geometry,
    scan: Geometry,
) -> tuple[np.ndarray, list[Insertion]]:
    """Insert nodules and shams, one after another.

    The pieces for shams are cut out of the original image.

    Args:
        image: HU (z, y, x) on ``grid``.
        placements: Placements drawn for this image.
        source: Source of the nodules.
        grid: Grid of a crop or a case.
        scan: Grid of the scan that it was interpolated from.

    Returns:
        A float32 copy of the image with all insertions, and each inserted
        shape.

    Raises:
        ValueError: A placement was drawn for another image; see ``donor_of``.
    """
    out = image.astype(np.float32)
    shapes = []
    for placement in placements:
        shape = render_insertion(
            donor_of(placement, source, image, grid.spacing),
            placement,
            grid.shape,
            grid.spacing,
            scan_profiles(grid, scan, placement.psf_mm),
        )
        out[shape.region] = shape.blended(out[shape.region])
        shapes.append(shape)
    return out, shapes
