from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.datasets.reading import (
    draw_lung_voxel,
    read_hu,
    read_mask,
    read_region,
)
from lungdet.io.case_store import CaseStore
from tests.datasets.stores import BALLS_GRID


@pytest.fixture
def store(balls: Path) -> CaseStore:
    return CaseStore(balls)


def test_region_beyond_the_case_is_filled(store: CaseStore) -> None:
    record, image = store.records['1.1'], store.read('1.1', 'image')
    low, high = np.array([-3, 80, 10]), np.array([2, 90, 15])

    region = read_region(store, record, 'image', low, high, fill=-77)

    assert region.shape == (5, 10, 5) and region.dtype == np.int16
    np.testing.assert_array_equal(region[3:, :5], image[:2, 80:85, 10:15])
    assert (region[:3] == -77).all() and (region[:, 5:] == -77).all()
    outside = read_region(
        store, record, 'lungs', high + 100, high + 102, fill=0
    )
    assert outside.shape == (2, 2, 2) and outside.dtype == np.uint8


def test_axis_aligned_grids_are_read_exactly(store: CaseStore) -> None:
    record = store.records['1.1']
    image, mask = store.read('1.1', 'image'), store.read('1.1', 'mask')
    grid = BALLS_GRID.crop((10, 20, 30), (20, 32, 40))
    grid = grid.transpose((0, 2, 1)).flip(1).flip(0)
    box = np.s_[10:30, 20:52, 30:70]

    for array, crop in (
        (image, read_hu(store, record, grid, pad_hu=0)),
        (mask, read_mask(store, record, grid)),
    ):
        wanted = array[box].transpose(0, 2, 1)[::-1, ::-1]
        np.testing.assert_array_equal(crop, wanted)
        assert crop.dtype == array.dtype


def test_half_a_voxel_apart_is_the_mean_of_neighbours(
    store: CaseStore,
) -> None:
    image = store.read('1.1', 'image').astype(float)
    grid = BALLS_GRID.crop((10, 20, 30.5), (4, 5, 6))

    crop = read_hu(store, store.records['1.1'], grid, pad_hu=0)

    wanted = (image[10:14, 20:25, 30:36] + image[10:14, 20:25, 31:37]) / 2
    assert crop.dtype == np.float32
    np.testing.assert_allclose(crop, wanted, atol=0.01)


def test_case_without_mask_has_no_label(store: CaseStore) -> None:
    record = store.records['1.1']
    del record.checksums['mask']

    mask = read_mask(store, record, BALLS_GRID.crop((30, 40, 45), (2, 3, 4)))

    assert mask.shape == (2, 3, 4) and mask.dtype == np.uint8
    assert not mask.any()


def test_lung_voxels_are_drawn_evenly_and_none_outside(
    store: CaseStore, rng: np.random.Generator
) -> None:
    record, lungs = store.records['1.1'], store.read('1.1', 'lungs')

    choices = [draw_lung_voxel(rng, store, record, 5000) for _ in range(40)]

    voxels = np.stack([voxel for voxel in choices if voxel is not None])
    assert len(voxels) == 40
    assert lungs[tuple(voxels.T)].all()
    inside = np.argwhere(lungs)
    spread = inside.std(0) / np.sqrt(len(voxels))
    assert (np.abs(voxels.mean(0) - inside.mean(0)) < 4 * spread).all()
    assert draw_lung_voxel(rng, store, record, 0) is None
