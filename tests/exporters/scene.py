"""A result with two detections, one with a mask, and one without any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lungdet.geometry import Geometry
from lungdet.structures import Detection, SeriesResult

GRID = Geometry.from_parts(
    (6, 7, 8), spacing_zyx=(2, 1, 0.5), origin_xyz=(5, -3, 9)
)
TURNED = Geometry.from_parts(
    (9, 20, 22),
    spacing_zyx=(1.71, 0.7, 0.9),
    origin_xyz=(6, -6, 4),
    direction=[[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]],
)


def make_result(scan: Geometry | None = None) -> SeriesResult:
    """Detections of which the best has a mask and the other has none."""
    best = Detection(
        (6.75, -0.5, 11.0),  # index (1, 2.5, 3.5) of GRID
        0.75,
        rpn_score=0.5,
        size_mm=(2.0, 2.0, 1.0),
        mask_box=(1, 2, 3, 2, 4, 5),
        mask=np.ones((1, 2, 2), bool),
        volume_mm3=4.0,
    )
    other = Detection((7.0, 1.0, 15.0), 0.25, size_mm=(4.0, 3.0, 1.0))
    return SeriesResult('1.2', [best, other], GRID, scan, caveats=['a doubt'])


def flipped_scan() -> Geometry:
    """A scan along the axes of the case, with x and z reversed and other
    spacing."""
    grid = Geometry.from_parts(
        (9, 14, 10), spacing_zyx=(1.5, 0.5, 0.4), origin_xyz=(4, -4, 8)
    )
    return grid.flip(0).flip(2)


def empty_result() -> SeriesResult:
    return replace(make_result(), detections=[])
