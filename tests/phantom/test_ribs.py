from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungdet.phantom.body import draw_body, draw_shape
from lungdet.phantom.render import render_slices
from lungdet.phantom.ribs import CORTEX_MM, RADIUS_MM, add_ribs


def test_ribs_are_bone_one_above_the_other_on_both_sides() -> None:
    rng = np.random.default_rng(4)
    body = draw_body(rng, 'small')
    shape = draw_shape(rng, body)
    chest = render_slices(body, shape)
    before = chest.hu.copy()

    add_ribs(chest, shape)

    bone = chest.hu - before > 300
    middle = bone.shape[2] // 2
    assert bone[..., middle:].sum() == pytest.approx(
        bone[..., :middle].sum(), rel=0.02
    )
    # beside the lung, where a rib is farthest out
    lateral = shape.lung_x + shape.lung_half_width + 6 * body.scale
    for side in (-1, 1):
        column = np.array([side * lateral, 0, 0])
        index = np.rint(chest.frame.to_index(column)[0]).astype(int)
        parts, num = ndimage.label(bone[:, index[1], index[2]])
        centers = ndimage.center_of_mass(parts > 0, parts, range(1, num + 1))
        heights = np.array(centers)[1:-1, 0] * chest.thickness
        assert len(heights) >= 2
        # each centre is off by half a slice at the most
        np.testing.assert_allclose(
            np.diff(heights), 24 * body.scale, atol=chest.thickness
        )


def test_a_rib_has_marrow_inside_its_cortex() -> None:
    rng = np.random.default_rng(4)
    body = draw_body(rng, 'small')
    chest = render_slices(body, shape := draw_shape(rng, body))

    add_ribs(chest, shape)

    lateral = shape.lung_x + shape.lung_half_width + 6 * body.scale
    # the rib whose farthest point is nearest to the middle of the scan
    first, step = -body.height / 2 - 20, 24 * body.scale
    height = first + round(-first / step) * step
    radius = RADIUS_MM * body.scale
    center = chest.value_at(chest.hu, np.array([lateral, 0, height]))
    rim = chest.value_at(
        chest.hu, np.array([lateral + radius - CORTEX_MM / 2, 0, height])
    )
    assert center == pytest.approx(0.8 * body.hu.marrow, rel=0.1)
    assert rim > 1.5 * center
