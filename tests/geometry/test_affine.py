from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import GeometryError
from lungdet.geometry import Geometry, axis_positions, isotropic_geometry


def rotation(a: float, b: float, c: float) -> np.ndarray:
    def about(axis: int, angle: float) -> np.ndarray:
        turn = np.eye(3)
        i, j = (k for k in range(3) if k != axis)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        return turn

    return about(0, a) @ about(1, b) @ about(2, c)


def oblique() -> Geometry:
    return Geometry.from_parts(
        (4, 5, 7),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-120.5, 33.25, -410.0),
        direction=rotation(0.3, -0.2, 0.5),
    )


def test_index_to_world_agrees_with_simpleitk_on_an_oblique_grid() -> None:
    geometry = oblique()
    image = sitk.Image(7, 5, 4, sitk.sitkInt16)
    image.SetSpacing((0.8, 0.7, 2.5))
    image.SetOrigin((-120.5, 33.25, -410.0))
    image.SetDirection(rotation(0.3, -0.2, 0.5).ravel().tolist())

    found = geometry.to_world(np.array([[1, 2, 3], [0, 4, 6], [3, 0, 0]]))

    wanted = [
        image.TransformIndexToPhysicalPoint(p)
        for p in ((3, 2, 1), (6, 4, 0), (0, 0, 3))
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


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


def test_crop_flip_and_transpose_keep_every_voxel_in_place() -> None:
    geometry = oblique()
    world = geometry.to_world(np.argwhere(np.ones(geometry.shape)))
    world = world.reshape(*geometry.shape, 3)
    for found, wanted in (
        (geometry.crop((1, 2, 3), (2, 3, 4)), world[1:3, 2:5, 3:7]),
        (geometry.flip(1), world[:, ::-1]),
        (geometry.transpose((2, 0, 1)), world.transpose(2, 0, 1, 3)),
    ):
        index = np.argwhere(np.ones(found.shape))
        np.testing.assert_allclose(
            found.to_world(index), wanted.reshape(-1, 3), atol=1e-9
        )
        assert found.shape == wanted.shape[:3]


def test_sphere_box_hand_worked() -> None:
    geometry = Geometry.from_parts(
        (9, 9, 9), spacing_zyx=(2, 1, 0.5), origin_xyz=(10, 20, 30)
    )

    (box,) = geometry.sphere_box(np.array([[12.0, 23.0, 34.0]]), 4.0)

    # index (2, 3, 4); edge centre +0.5; half sides 2 mm = 1, 2, 4 voxels
    np.testing.assert_allclose(box, [1.5, 1.5, 0.5, 3.5, 5.5, 8.5])
    np.testing.assert_allclose(
        geometry.box_center_world(box[None]), [[12, 23, 34]]
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'spacing_zyx': (0, 1, 1)}, 'must be a positive number'),
        ({'spacing_zyx': (np.nan, 1, 1)}, 'must be a positive number'),
        ({'origin_xyz': (0, np.inf, 0)}, 'not finite'),
        ({'direction': np.ones((3, 3))}, 'not orthonormal'),
        ({'direction': [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]}, 'sheared'),
    ],
)
def test_unusable_geometry_is_refused(change: dict, message: str) -> None:
    parts = {'spacing_zyx': (1, 1, 1), 'origin_xyz': (0, 0, 0), **change}

    with pytest.raises(GeometryError, match=message):
        Geometry.from_parts((2, 2, 2), **parts)


def test_isotropic_grid_keeps_the_first_edge() -> None:
    source = oblique()

    target = isotropic_geometry(source, 1.0)

    assert target.shape == (10, 4, 6)  # ceil(4*2.5), ceil(5*.7), ceil(7*.8)
    np.testing.assert_allclose(target.spacing, 1)
    for axis, scale in enumerate(source.spacing):
        wanted = (np.arange(target.shape[axis]) + 0.5) / scale - 0.5
        np.testing.assert_allclose(
            axis_positions(source, target)[axis], wanted, atol=1e-9
        )
