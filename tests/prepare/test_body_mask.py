from __future__ import annotations

import numpy as np
import pytest

from lungdet.prepare.body_mask import find_body, outside_air

SPACING = np.array([3.0, 3.0, 3.0])
SHAPE = (30, 60, 70)


def cylinder(a: float, b: float) -> np.ndarray:
    """An elliptic cylinder along z in the middle of the grid."""
    _, y, x = np.indices(SHAPE)
    return ((y - 30) / b) ** 2 + ((x - 35) / a) ** 2 < 1


@pytest.fixture
def hu() -> np.ndarray:
    """A body of two lungs in a wall of 6 voxels, air around it."""
    hu = np.where(cylinder(28, 22), 40.0, -1000.0)
    hu[cylinder(22, 16)] = -850
    hu[:, :, 33:37][cylinder(28, 22)[:, :, 33:37]] = 40
    return hu


def test_the_body_is_filled_and_air_around_is_outside(hu: np.ndarray) -> None:
    body = find_body(hu, SPACING)

    wanted = cylinder(28, 22)
    assert (body.inside & wanted).sum() > 0.99 * wanted.sum()
    assert not (body.inside & ~wanted).any()
    assert not (body.outside & wanted).any()
    assert body.outside[~wanted].mean() > 0.9


def test_the_table_is_no_part_of_the_body(hu: np.ndarray) -> None:
    hu[:, 56:58] = 200

    body = find_body(hu, SPACING)

    assert not body.inside[:, 55:].any()


def test_a_gap_in_the_wall_of_one_slice_stays_inside(hu: np.ndarray) -> None:
    hu[15, 28:33, 57:] = -1000  # the wall is open to the side

    body = find_body(hu, SPACING)

    wanted = cylinder(22, 16)
    assert body.inside[15][wanted[15]].mean() > 0.95


def test_lung_at_a_side_of_the_image_is_inside_up_to_it(
    hu: np.ndarray,
) -> None:
    cut = hu[:, :, :55]  # through the lung on the right of the image

    body = find_body(cut, SPACING)

    lung = cut == -850
    assert body.to_sides[lung].mean() > 0.95
    assert (body.inside & ~body.to_sides).sum() == 0


def test_lung_that_touches_a_side_is_no_air_outside(hu: np.ndarray) -> None:
    cut = hu[:, :, :55]

    outside = outside_air(cut)

    assert not outside[cut == -850].any()
    assert outside[cut == -1000].mean() > 0.9
