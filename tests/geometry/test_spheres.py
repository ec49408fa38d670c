from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lungdet.geometry import (
    UNKNOWN_DIAMETER_MM,
    points_in_spheres,
    sphere_diameter,
)

COORDINATES = st.floats(-50, 50)


@given(st.floats(0, 400))
def test_diameter_is_that_of_the_volume(diameter_mm: float) -> None:
    volume_mm3 = 4 / 3 * np.pi * (diameter_mm / 2) ** 3

    assert sphere_diameter(volume_mm3) == pytest.approx(diameter_mm, rel=1e-9)


def test_hits_hand_worked() -> None:
    centers = np.array([[0.0, 0, 0], [10, 20, 30], [10, 20, 30]])
    diameters = np.array([6.0, np.nan, -1])  # radii 3, 5, 5
    points = np.array(
        [
            [1.0, 2, 1.9],  # 1 + 4 + 3.61 < 9
            [1.0, 2, 2],  # on the surface: outside
            [13.0, 24, 30],  # 9 + 16 = 25, on the surface
            [13.0, 23.9, 30],
        ]
    )

    inside = points_in_spheres(centers, diameters, points)

    assert inside.tolist() == [
        [True, False, False, False],
        [False, False, False, True],
        [False, False, False, True],
    ]


@given(
    centers=arrays(np.float64, (4, 3), elements=COORDINATES),
    points=arrays(np.float64, (5, 3), elements=COORDINATES),
    diameters=arrays(np.float64, 4, elements=st.floats(-5, 40)),
)
def test_hits_are_the_literal_rule(
    centers: np.ndarray, points: np.ndarray, diameters: np.ndarray
) -> None:
    inside = points_in_spheres(centers, diameters, points)

    for i, (center, diameter) in enumerate(zip(centers, diameters)):
        radius = (diameter if diameter >= 0 else UNKNOWN_DIAMETER_MM) / 2
        for j, point in enumerate(points):
            (x, y, z), (u, v, w) = center, point
            square = (x - u) ** 2 + (y - v) ** 2 + (z - w) ** 2
            assert inside[i, j] == (square < radius**2)


def test_no_spheres_and_no_points() -> None:
    none, some = np.zeros((0, 3)), np.zeros((2, 3))

    assert points_in_spheres(none, np.zeros(0), some).shape == (0, 2)
    assert points_in_spheres(some, np.ones(2), none).shape == (2, 0)
    # a diameter of 0 is known, and nothing is strictly inside
    assert not points_in_spheres(some, np.zeros(2), some).any()
