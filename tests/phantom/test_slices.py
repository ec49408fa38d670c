from __future__ import annotations

import numpy as np
import pytest

from lungdet.phantom.body import Body, ChestShape, draw_body, draw_shape
from lungdet.phantom.slices import (
    SlicePainter,
    body_wall,
    heart_radius,
    render_slice,
)

Y, X = np.arange(-150, 151, 1.0), np.arange(-180, 181, 1.0)


@pytest.fixture
def person() -> tuple[Body, ChestShape]:
    rng = np.random.default_rng(2)
    body = draw_body(rng, 'full')
    return body, draw_shape(rng, body)


def test_an_ellipse_has_its_area_its_place_and_its_value() -> None:
    painter = SlicePainter(np.zeros((len(Y), len(X))), Y, X)

    painter.ellipse((30.0, -40.0), (20.0, 10.0), 100.0)

    area = painter.hu.sum() / 100
    assert area == pytest.approx(np.pi * 20 * 10, rel=0.01)
    rows, columns = np.nonzero(painter.hu > 50)
    assert (Y[rows].mean(), X[columns].mean()) == pytest.approx((-40, 30))
    assert np.ptp(X[columns]) == pytest.approx(40, abs=2)


def test_a_ring_has_a_hole() -> None:
    painter = SlicePainter(np.zeros((len(Y), len(X))), Y, X)

    painter.ellipse((0.0, 0.0), (30.0, 30.0), 1.0, wall=5)

    area = np.pi * (30**2 - 25**2)
    assert painter.hu.sum() == pytest.approx(area, rel=0.02)
    assert painter.hu[150, 180] == 0  # its centre


def test_a_slice_has_fat_outside_and_a_lung_on_each_side(
    person: tuple[Body, ChestShape],
) -> None:
    body, shape = person
    wall = body_wall(Y, X, body, shape)

    one = render_slice(wall, 0.0, Y, X, body, shape)

    inside = X[None, :] + 0 * Y[:, None]
    assert (inside[one.labels == 3] < 0).all()  # the patient's right is -x
    assert (inside[one.labels == 4] > 0).all()
    lung = one.lungs == 1
    np.testing.assert_allclose(one.hu[lung], body.hu.lung, atol=1e-2)
    assert ((one.lungs > 0.5) == (one.labels > 0)).all()
    assert one.hu[0, 0] == body.hu.air
    skin = np.flatnonzero(one.hu[150] > -500)
    assert one.hu[150, skin[0] + 5] == pytest.approx(body.hu.fat, abs=1)
    assert 2 * shape.half_width == pytest.approx(np.ptp(skin), abs=3)


def test_lungs_end_at_the_diaphragm_and_below_the_apex(
    person: tuple[Body, ChestShape],
) -> None:
    body, shape = person
    wall = body_wall(Y, X, body, shape)
    half = body.height / 2

    areas = [
        (render_slice(wall, z, Y, X, body, shape).labels > 0).sum()
        for z in (-half - 5, -half / 2, 0.0, half * 0.9)
    ]

    assert areas[0] == 0
    assert areas[1] > areas[3] and areas[2] > areas[3] > 0
    assert heart_radius(10 * body.height, body, shape) == 0
