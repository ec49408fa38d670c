from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from lungdet.geometry import Geometry, reorient
from tests.geometry.grids import oblique, rotation


@given(
    axes=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_canonical_order_leads_to_the_identity(
    axes: list, signs: tuple
) -> None:
    direction = np.eye(3)[:, axes] * signs
    grid = Geometry.from_parts(
        (3, 4, 5),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-120.5, 33.25, -410.0),
        direction=direction,
    )
    array = np.arange(60).reshape(grid.shape)

    order = grid.canonical_order()
    assert order is not None
    turned, reoriented = order.apply(array), grid.reoriented(order)

    np.testing.assert_allclose(reoriented.direction, np.eye(3), atol=1e-12)
    assert turned.shape == reoriented.shape
    assert order.changes_nothing == bool((direction == np.eye(3)).all())
    for index in ([0, 0, 0], [2, 1, 0], [1, 3, 4]):
        world = grid.to_world(np.array([index]))
        new = np.rint(reoriented.to_index(world)[0]).astype(int)
        assert turned[tuple(new)] == array[tuple(index)]


def test_an_oblique_grid_has_no_canonical_order() -> None:
    assert oblique().canonical_order() is None


def test_canonical_grid_agrees_with_simpleitk() -> None:
    image = sitk.GetImageFromArray(np.arange(60).reshape(3, 4, 5))
    image.SetSpacing((0.8, 0.7, 2.5))
    image.SetOrigin((10, 20, 30))
    direction = np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]], float)
    image.SetDirection(direction.ravel().tolist())
    grid = Geometry.from_parts(
        (3, 4, 5),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(10, 20, 30),
        direction=direction,
    )

    order = grid.canonical_order()
    wanted = sitk.DICOMOrient(image, 'LPS')

    np.testing.assert_array_equal(
        order.apply(sitk.GetArrayFromImage(image)),
        sitk.GetArrayFromImage(wanted),
    )
    turned = grid.reoriented(order)
    np.testing.assert_allclose(turned.origin, wanted.GetOrigin())
    np.testing.assert_allclose(turned.spacing[::-1], wanted.GetSpacing())


def test_an_oblique_array_is_returned_as_given() -> None:
    array = np.zeros(oblique().shape)
    grid = oblique()

    turned, geometry = reorient(array, grid)

    assert turned is array and geometry is grid


def test_a_turned_array_is_contiguous_and_a_straight_one_the_same() -> None:
    straight = Geometry.from_parts(
        (3, 4, 5), spacing_zyx=(2.5, 0.7, 0.8), origin_xyz=(1, 2, 3)
    )
    array = np.arange(60).reshape(3, 4, 5)

    assert reorient(array, straight)[0] is array
    turned, geometry = reorient(array[::-1], straight.flip(0))
    np.testing.assert_array_equal(turned, array)
    assert turned.flags.c_contiguous and geometry.is_close(straight)


def test_a_tilted_coronal_grid_becomes_a_tilted_axial_one() -> None:
    tilt = rotation(0.02, 0.01, -0.015)
    coronal = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
    grid = Geometry.from_parts(
        (3, 4, 5),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(10, 20, 30),
        direction=tilt @ coronal,
    )
    array = np.arange(60).reshape(grid.shape)

    turned, geometry = reorient(array, grid)

    assert grid.canonical_order() is None
    np.testing.assert_allclose(geometry.direction, tilt, atol=1e-12)
    np.testing.assert_allclose(geometry.spacing, (0.7, 2.5, 0.8))
    for index in ([0, 0, 0], [2, 1, 0], [1, 3, 4]):
        world = grid.to_world(np.array([index]))
        new = np.rint(geometry.to_index(world)[0]).astype(int)
        assert turned[tuple(new)] == array[tuple(index)]
