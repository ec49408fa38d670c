"""Where masks of two marks meet, against the published pasting."""

from __future__ import annotations

import numpy as np

from lungdet.apis.inferencer import paint_masks
from lungdet.geometry import Geometry, box_slices
from lungdet.structures import Detection, SeriesResult
from tests.oracles.published_data import paste

SHAPE = (6, 7, 8)
# best first; the second shares [2, 4) on each axis with the first
BOXES = [(1, 1, 1, 4, 4, 4), (2, 2, 2, 6, 6, 7), (0, 5, 6, 1, 7, 8)]


def test_the_better_mask_stays_where_two_overlap() -> None:
    """Published: the worse one, painted later, overwrites."""
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(2, 1, 0.5), origin_xyz=(5, -3, 9)
    )
    volumes = np.zeros((len(BOXES), *SHAPE), dtype=bool)
    detections = []
    for volume, box in zip(volumes, BOXES):
        volume[box_slices(np.array(box))] = True
        crop = volume[box_slices(np.array(box))]
        detections.append(
            Detection((0, 0, 0), 0.5, mask_box=box, mask=crop.copy())
        )

    painted = paint_masks(SeriesResult('1.1', detections, grid), grid)

    published = paste(volumes)
    assert ((painted > 0) == (published > 0)).all()
    shared = volumes[0] & volumes[1]
    assert shared.sum() == 8
    assert (painted[shared] == 1).all() and (published[shared] == 2).all()
    assert (painted[~shared] == published[~shared]).all()
