from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.datasets import CropGrid
from lungdet.datasets.reading import read_hu
from lungdet.io.case_store import CaseStore
from tests.datasets.stores import BALLS_GRID

SWAP_XY = np.eye(3)[:, [0, 2, 1]]
SHAPE = (16, 24, 40)


@pytest.fixture
def nodule_grid(balls: Path) -> CropGrid:
    record = CaseStore(balls).records['1.1']
    geometry = BALLS_GRID.crop((22, 30, 40), SHAPE)
    return CropGrid.around_nodule(geometry, record, record.nodules[0])


def test_fixed_point_is_the_nodule_or_the_middle(
    nodule_grid: CropGrid,
) -> None:
    background = CropGrid.of_background(nodule_grid.geometry)
    points = np.array([nodule_grid.fixed_point_mm, background.fixed_point_mm])

    inside = nodule_grid.geometry.to_index(points)

    # the box of the ball at (30, 40, 45), edge coordinates: 25.5 to 35.5
    np.testing.assert_allclose(
        inside[0], np.subtract((30, 40, 45), (22, 30, 40))
    )
    np.testing.assert_allclose(inside[1], (np.array(SHAPE) - 1) / 2)
    assert nodule_grid.nodule is not None and nodule_grid.nodule.id == 1
    assert background.nodule is None


def test_a_transposed_crop_has_the_voxels_of_the_case(balls: Path) -> None:
    """Though the nodule's centre is at none of them."""
    store = CaseStore(balls)
    record = store.records['1.1']
    box = (25.5, 35.25, 40.75, 35.5, 45.5, 50.5)  # its centre 30.5, 40.375 ...
    nodule = replace(record.nodules[0], box=box)
    grid = CropGrid.around_nodule(
        BALLS_GRID.crop((22, 30, 40), SHAPE), record, nodule
    )

    swapped = grid.warp(SWAP_XY).geometry
    image = read_hu(store, record, swapped, pad_hu=0)

    assert image.dtype == np.int16  # not interpolated
    # the voxel that holds the centre stays at 8, 10, 5 of the crop
    fixed = swapped.to_world(np.array([[8.0, 10, 5]]))
    np.testing.assert_allclose(BALLS_GRID.to_index(fixed), [[30, 40, 45]])
    assert image[8, 10, 5] == store.read('1.1', 'image')[30, 40, 45]


@given(
    angle=st.floats(-3.2, 3.2),
    factor=st.floats(0.7, 1.4),
    axes=st.sets(st.sampled_from((0, 1, 2))),
)
def test_warp_leaves_the_fixed_point_on_its_voxel(
    angle: float, factor: float, axes: set[int]
) -> None:
    fixed = BALLS_GRID.to_world(np.array([[30.0, 40, 45]]))
    grid = CropGrid(
        BALLS_GRID.crop((22, 30, 40), SHAPE), tuple(fixed[0].tolist())
    ).flip(axes)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])

    warped = grid.warp(turn / factor)

    np.testing.assert_allclose(
        warped.geometry.to_index(fixed), grid.geometry.to_index(fixed)
    )
    np.testing.assert_allclose(warped.geometry.spacing, 1 / factor)
    assert warped.geometry.shape == SHAPE


def test_flips_and_swaps_twice_are_the_same_grid(
    nodule_grid: CropGrid,
) -> None:
    once = nodule_grid.flip((0, 1, 2))
    twice = once.flip((0, 1, 2)).warp(SWAP_XY)
    matrix, offset = nodule_grid.geometry.index_map(once.geometry)
    swapped, _ = nodule_grid.geometry.index_map(twice.geometry)
    back, start = nodule_grid.geometry.index_map(twice.warp(SWAP_XY).geometry)

    np.testing.assert_array_equal(matrix, -np.eye(3))
    np.testing.assert_array_equal(offset, np.array(SHAPE) - 1)
    np.testing.assert_array_equal(swapped, SWAP_XY)
    np.testing.assert_array_equal(back, np.eye(3))
    np.testing.assert_array_equal(start, [0, 0, 0])
