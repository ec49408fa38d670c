"""A result with two detections, one with a mask, and one without any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk

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


def turned_scan() -> tuple[sitk.Image, SeriesResult, list[np.ndarray]]:
    """A scan of bright blocks on a turned grid, a result that found them, and
    each block as a boolean (z, y, x)."""
    array = np.full(TURNED.shape, -850, np.int16)
    blocks, detections = [], []
    for score, low, high in (
        (0.75, (2, 3, 4), (5, 8, 10)),
        (0.25, (6, 11, 12), (8, 17, 20)),
    ):
        inside = np.zeros(array.shape, bool)
        inside[tuple(slice(a, b) for a, b in zip(low, high))] = True
        array[inside] = 60
        size = np.subtract(high, low)
        x, y, z = TURNED.to_world([np.add(low, high) / 2 - 0.5])[0]
        blocks.append(inside)
        detections.append(
            Detection(
                (x, y, z),
                score,
                size_mm=tuple(size * TURNED.spacing),
                mask_box=(*low, *high),
                mask=np.ones(size, bool),
            )
        )
    image = sitk.GetImageFromArray(array)
    image.SetOrigin([*TURNED.origin])
    image.SetSpacing([*TURNED.spacing_xyz])
    image.SetDirection([*TURNED.direction.ravel()])
    return image, SeriesResult('1.2', detections, TURNED), blocks
