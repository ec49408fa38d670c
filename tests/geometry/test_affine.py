from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import GeometryError
from lungdet.geometry import Geometry, index_to_world, world_to_index
from tests.geometry.grids import oblique, rotation


def test_index_to_world_agrees_with_simpleitk_on_an_oblique_grid() -> None:
    geometry = oblique()
    image = sitk.Image(7, 5, 4, sitk.sitkInt16)
    image.SetSpacing((0.8, 0.7, 2.5))
    image.SetOrigin((-120.5, 33.25, -410.0))
    image.SetDirection(rotation(0.3, -0.2, 0.5).ravel().tolist())

    world = geometry.to_world(np.array([[1, 2, 3], [0, 4, 6], [3, 0, 0]]))

    wanted = [
        image.TransformIndexToPhysicalPoint(p)
        for p in ((3, 2, 1), (6, 4, 0), (0, 0, 3))
    ]
    np.testing.assert_allclose(world, wanted, atol=1e-12)


@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    point=st.tuples(*[st.floats(-600, 600)] * 3),
)
def test_voxel_to_world_and_back(
    angles: tuple, spacing: tuple, origin: tuple, point: tuple
) -> None:
    geometry = Geometry.from_parts(
        (10, 20, 30),
        spacing_zyx=spacing,
        origin_xyz=origin,
        direction=rotation(*angles),
    )

    back = geometry.to_world(geometry.to_index(np.array([point])))[0]

    assert np.abs(back - point).max() < 1e-6
    np.testing.assert_allclose(geometry.spacing, spacing, rtol=1e-9)


def test_a_singular_affine_is_refused() -> None:
    affine = np.diag([2.0, 1.0, 0.0, 1.0])

    with pytest.raises(GeometryError, match='affine: singular'):
        world_to_index([[1, 2, 3]], affine)


def test_points_of_one_and_of_no_row() -> None:
    affine = np.array(
        [[0, 0, 0.5, 10], [0, 1, 0, 20], [2, 0, 0, 30], [0, 0, 0, 1]]
    )

    assert index_to_world([1, 2, 3], affine).tolist() == [[11.5, 22, 32]]
    assert index_to_world(np.zeros((0, 3)), affine).shape == (0, 3)
    assert world_to_index(np.zeros((0, 3)), affine).shape == (0, 3)
