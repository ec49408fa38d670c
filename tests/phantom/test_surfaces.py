from __future__ import annotations

import numpy as np
import pytest

from lungdet.phantom.surfaces import (
    capsule_distance,
    ellipse_distance,
    inside_fraction,
)


def test_distance_to_a_tube_that_narrows_hand_worked() -> None:
    """From (0, 0, 0) to (0, 0, 8) mm, radius 2 to 1, x, y, z."""
    points = np.array([[3, 0, 0], [0, 3, 4], [0, 0, 4], [0, 0, 10]])
    x, y, z = points.T.astype(float)

    distance = capsule_distance((z, y, x), np.array([0, 0, 8.0]), (2.0, 1.0))

    np.testing.assert_allclose(distance, [1, 1.5, -1.5, 1])


def test_ellipse_is_zero_on_its_surface() -> None:
    angle = np.linspace(0, 2 * np.pi, 9)
    x, y = 5 * np.cos(angle), 3 * np.sin(angle)

    assert ellipse_distance(x, y, 5, 3) == pytest.approx(0, abs=1e-12)
    assert (ellipse_distance(x / 2, y / 2, 5, 3) < 0).all()


def test_half_of_a_voxel_on_the_surface_is_inside() -> None:
    edge = inside_fraction(np.array([-9, -0.6, 0, 0.3, 0.6, 9]), 1.2)

    np.testing.assert_allclose(edge, [1, 1, 0.5, 0.25, 0, 0])
