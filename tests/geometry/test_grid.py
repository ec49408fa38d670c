from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import GeometryError
from lungdet.geometry import Geometry, axis_positions, isotropic_geometry
from tests.geometry.grids import oblique, rotation


def test_crop_flip_and_transpose_keep_every_voxel_where_it_is() -> None:
    geometry = oblique()
    world = geometry.to_world(np.argwhere(np.ones(geometry.shape)))
    world = world.reshape(*geometry.shape, 3)
    for moved, wanted in (
        (geometry.crop((1, 2, 3), (2, 3, 4)), world[1:3, 2:5, 3:7]),
        (geometry.flip(1), world[:, ::-1]),
        (geometry.transpose((2, 0, 1)), world.transpose(2, 0, 1, 3)),
    ):
        index = np.argwhere(np.ones(moved.shape))
        np.testing.assert_allclose(
            moved.to_world(index), wanted.reshape(-1, 3), atol=1e-9
        )
        assert moved.shape == wanted.shape[:3]


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


def test_transformed_grid_shows_the_stated_index() -> None:
    grid = oblique()
    matrix = rotation(0.1, 0.7, -0.4) * (1.5, 0.5, 2.0)
    center = np.array([1.5, 2.0, 3.25])

    moved = grid.transformed(matrix, center, (2, 3, 4))

    assert moved.shape == (2, 3, 4)
    for j in ([0, 0, 0], [1, 2, 3], [0, 2, 1]):
        wanted = center + matrix @ (np.array(j) - [0.5, 1.0, 1.5])
        shown = grid.to_index(moved.to_world(np.array([j])))[0]
        np.testing.assert_allclose(shown, wanted, atol=1e-9)


def test_coarse_voxels_lie_in_the_middle_of_their_blocks() -> None:
    grid = oblique()  # (4, 5, 7)

    coarse = grid.coarsened((2, 1, 3))

    assert coarse.shape == (2, 5, 2)
    np.testing.assert_allclose(coarse.spacing, (5.0, 0.7, 2.4))
    world = grid.to_world(np.argwhere(np.ones(grid.shape)))
    world = world.reshape(*grid.shape, 3)
    blocks = world[:, :, :6].reshape(2, 2, 5, 2, 3, 3).mean((1, 4))
    index = np.argwhere(np.ones(coarse.shape))
    np.testing.assert_allclose(
        coarse.to_world(index), blocks.reshape(-1, 3), atol=1e-9
    )


def test_index_map_says_where_the_voxels_of_another_grid_lie() -> None:
    grid = oblique()
    other = Geometry.from_parts(
        (5, 6, 7), spacing_zyx=(1, 2, 3), origin_xyz=(-119, 30, -408)
    )

    matrix, offset = grid.index_map(other)

    index = np.argwhere(np.ones(other.shape))
    np.testing.assert_allclose(
        index @ matrix.T + offset,
        grid.to_index(other.to_world(index)),
        atol=1e-9,
    )


@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    axes=st.permutations(range(3)),
    start=st.tuples(*[st.integers(-5, 5)] * 3),
)
def test_index_map_of_flips_and_transpositions_is_whole(
    angles: tuple, axes: list, start: tuple
) -> None:
    grid = Geometry.from_parts(
        (4, 5, 7),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-120.5, 33.25, -410.0),
        direction=rotation(*angles),
    )

    matrix, offset = grid.index_map(
        grid.crop(start, (3, 4, 5)).flip(1).transpose(axes)
    )

    signs = np.diag([1.0, -1.0, 1.0])
    assert (matrix == signs[:, axes]).all()
    assert (offset == np.array(start) + [0, 3, 0]).all()


def test_box_around_hand_worked() -> None:
    grid = Geometry.from_parts(
        (9, 9, 9), spacing_zyx=(2, 1, 0.5), origin_xyz=(10, 20, 30)
    )
    center = np.array([[12.0, 23.0, 34.0]])  # index (2, 3, 4)

    (box,) = grid.box_around(center, np.array([[4.0, 2.0, 3.0]]))

    # edge centre (2.5, 3.5, 4.5), half sides 1, 1, 3 voxels
    assert box.tolist() == [1.5, 2.5, 1.5, 3.5, 4.5, 7.5]
    assert grid.box_around(np.zeros((0, 3)), np.zeros((0, 1))).shape == (0, 6)


@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    scale=st.tuples(*[st.floats(0.3, 4)] * 3),
    offset=st.tuples(*[st.floats(-20, 20)] * 3),
)
def test_index_map_is_the_inverse_of_mapped(
    angles: tuple, scale: tuple, offset: tuple
) -> None:
    matrix = rotation(*angles) * scale

    back, start = oblique().index_map(
        oblique().mapped(matrix, offset, (2, 3, 4))
    )

    np.testing.assert_allclose(back, matrix, atol=1e-8)
    np.testing.assert_allclose(start, offset, atol=1e-8)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_an_affine_that_is_not_finite_is_refused(value: float) -> None:
    affine = np.diag([1.0, 2, 3, 1])
    affine[0, 1] = value

    with pytest.raises(GeometryError, match='not finite'):
        Geometry.from_ras((4, 5, 6), affine)
