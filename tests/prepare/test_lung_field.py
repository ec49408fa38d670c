from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry, box_of_mask, move_boxes
from lungdet.prepare.body_mask import BodyMasks
from lungdet.prepare.lung_field import whole_body, whole_scan
from tests.prepare.scans import block_scan


def test_the_whole_scan_is_one_voxel_over_all_of_it() -> None:
    scan = block_scan()

    field = whole_scan(scan, 'no body found')

    box = box_of_mask(field.mask)
    assert box is not None
    moved = move_boxes(box, field.geometry, scan.geometry)
    np.testing.assert_allclose(moved[0], [0, 0, 0, *scan.geometry.shape])
    assert field.source == 'failed'
    assert field.caveats == [
        'lungs not found (no body found); the whole scan is kept'
    ]


def test_the_whole_body_holds_what_its_wall_may_have_lost() -> None:
    grid = Geometry.from_parts(
        (10, 30, 30), spacing_zyx=(3, 3, 3), origin_xyz=(0, 0, 0)
    )
    to_sides = np.zeros(grid.shape, dtype=bool)
    to_sides[:, 5:25, 5:25] = True
    lost = np.zeros_like(to_sides)
    lost[4:6, 10:14, 5:12] = True  # a hole that is not air outside
    outside = ~to_sides
    before = to_sides & ~lost
    body = BodyMasks(before, before.copy(), outside)

    field = whole_body(body, grid, 'one lung only')

    assert (field.mask >= to_sides).all()
    assert not field.mask[:, :4].any()
    np.testing.assert_array_equal(body.to_sides, before)
    assert field.source == 'failed' and 'one lung only' in field.caveats[0]
