from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.datasets import (
    CropGrid,
    PlaceCrop,
    RandomAffine3D,
    RandomFlip3D,
    RandomTransposeXY,
)
from lungdet.datasets.transforms.spatial import (
    AffineParams,
    FlipParams,
    PlaceCropParams,
    TransposeParams,
)
from lungdet.engine import Key
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from tests.datasets.stores import (
    BALLS,
    BALLS_GRID,
    SPATIAL,
    cubes_store,
    training_crops,
)
from tests.datasets.transforms.draws import DRAWS, assert_rate


def background(shape: tuple[int, int, int]) -> dict:
    return {
        'crop_grid': CropGrid.of_background(BALLS_GRID.crop((5, 6, 7), shape))
    }


def index_map(sample: dict) -> tuple[np.ndarray, np.ndarray]:
    return BALLS_GRID.index_map(sample['crop_grid'].geometry)


def test_nodule_crop_holds_its_nodule_with_margin(tmp_path: Path) -> None:
    data = training_crops(cubes_store(tmp_path), margin=4)
    for epoch in range(20):
        sample = data[Key(2, epoch, 5)]['data_samples']
        gt = sample.gt_instances
        box = gt.bboxes[gt.ids.tolist().index(3)]
        assert (box[:3] >= 4 - 1e-4).all()
        assert (box[3:].numpy() <= np.array([32, 48, 64]) - 4 + 1e-4).all()


@pytest.mark.parametrize('size', [(32, 48, 64), (48, 48, 48)])
def test_no_draw_moves_a_nodule_out_of_its_crop(
    balls: Path, size: tuple[int, int, int]
) -> None:
    data = training_crops(balls, *SPATIAL['all'], size=size)
    for epoch in range(25):
        for index, (_, radius) in enumerate(BALLS):
            sample = data[Key(index, epoch, index)]['data_samples']
            gt = sample.gt_instances
            assert index + 1 in gt.ids.tolist()
            box = gt.bboxes[gt.ids.tolist().index(index + 1)].numpy()
            grown = 0.3 * radius  # margin that magnification may take
            spare = min(box[:3].min(), (size - box[3:]).min())
            assert spare >= 8 - grown - 1.01


def test_crop_without_room_for_the_margin_is_centred(balls: Path) -> None:
    record = CaseStore(balls).records['1.1']
    sample = {'record': record, 'nodule': record.nodules[0], 'kind': 'nodule'}
    transform = PlaceCrop((16, 16, 16), margin=12)

    params = transform.draw(np.random.default_rng(0), sample)
    grid = transform.apply(sample, params)['crop_grid']

    # the ball fills 25.5 to 35.5, 35.5 to 45.5, 40.5 to 50.5
    assert params == PlaceCropParams((22, 32, 38), (16, 16, 16))
    assert grid.nodule is record.nodules[0]
    assert grid.geometry.is_close(BALLS_GRID.crop((22, 32, 38), (16, 16, 16)))


@pytest.mark.parametrize('kind', ['nodule', 'lung', 'anywhere'])
def test_crop_inside_the_case_shows_no_padding(balls: Path, kind: str) -> None:
    store = CaseStore(balls)
    record = store.records['1.1']
    size = np.array([80, 64, 64])  # the case is only 70 high
    room = np.array(BALLS_GRID.shape) - size
    transform = PlaceCrop(size, margin=12, clip=True)
    left = 0
    for seed in range(60):
        nodule = record.nodules[seed % 3] if kind == 'nodule' else None
        sample = {
            'store': store, 'record': record, 'nodule': nodule, 'kind': kind
        }  # fmt: skip

        rng = np.random.default_rng(seed)
        start = np.array(transform.draw(rng, sample).start)

        assert room[0] <= start[0] <= 0, 'the crop covers the whole height'
        assert (start[1:] >= 0).all() and (start[1:] <= room[1:]).all()
        if nodule is not None:
            assert (np.array(nodule.box[:3]) >= start).all()
            assert (np.array(nodule.box[3:]) <= start + size).all()
        padded = PlaceCrop(size, margin=12)
        rng = np.random.default_rng(seed)
        asked = np.array(padded.draw(rng, sample).start)
        left += (asked != start).any()
        is_inside = (asked >= np.minimum(0, room)) & (
            asked <= np.maximum(0, room)
        )
        np.testing.assert_array_equal(asked[is_inside], start[is_inside])
    assert (left > 0) == (kind != 'anywhere')


def test_late_crops_have_another_size(balls: Path) -> None:
    data = training_crops(
        balls,
        late={'late_size': (48, 64, 48), 'late_epoch': 3},
    )

    for epoch, shape in enumerate([(32, 48, 64)] * 2 + [(48, 64, 48)] * 2):
        for index in range(len(BALLS)):
            sample = data[Key(index, epoch, index)]
            assert sample['inputs'].shape == (1, *shape)
            assert index + 1 in sample['data_samples'].gt_instances.ids


@pytest.mark.parametrize(
    'late', [{'late_size': (48, 48, 48)}, {'late_epoch': 3}]
)
def test_late_size_and_epoch_belong_together(late: dict) -> None:
    with pytest.raises(ConfigError, match='give both, or neither'):
        PlaceCrop((32, 32, 32), **late)


def test_flips_are_drawn_by_axis_and_mirror_the_grid() -> None:
    flip, rng = RandomFlip3D(axes=(1, 2)), np.random.default_rng(0)
    drawn = [flip.draw(rng, {}).axes for _ in range(DRAWS)]
    counts = [sum(axis in axes for axes in drawn) for axis in range(3)]

    assert counts[0] == 0
    assert_rate(counts[1], 0.5)
    assert_rate(counts[2], 0.5)
    matrix, offset = index_map(
        flip.apply(background((4, 5, 8)), FlipParams((1, 2)))
    )
    np.testing.assert_array_equal(matrix, np.diag([1, -1, -1]))
    np.testing.assert_array_equal(offset, [5, 6 + 4, 7 + 7])


def test_transpose_swaps_y_and_x_about_the_middle() -> None:
    transpose, rng = RandomTransposeXY(0.25), np.random.default_rng(0)
    sample = background((4, 6, 8))

    swapped = transpose.apply(sample, TransposeParams(True))
    matrix, offset = index_map(swapped)

    np.testing.assert_array_equal(matrix, np.eye(3)[:, [0, 2, 1]])
    # the middle is y 8.5, x 10.5: 6 rows show x 8..13, 8 columns y 5..12
    np.testing.assert_array_equal(offset, [5, 5, 8])
    assert transpose.apply(sample, TransposeParams(False)) is sample
    assert_rate(sum(transpose.draw(rng, {}).swap for _ in range(DRAWS)), 0.25)


def test_affine_scales_and_turns_about_the_middle() -> None:
    affine = RandomAffine3D()
    sample = background((4, 6, 8))

    turned = affine.apply(sample, AffineParams(2.0, np.pi / 2))
    matrix, offset = index_map(turned)

    # twice as large: half a voxel a step; a step along x goes back in y
    np.testing.assert_allclose(
        matrix, [[0.5, 0, 0], [0, 0, -0.5], [0, 0.5, 0]], atol=1e-12
    )
    middle = np.array([1.5, 2.5, 3.5])
    np.testing.assert_allclose(matrix @ middle + offset, middle + (5, 6, 7))
    assert affine.apply(sample, AffineParams()) is sample


def test_affine_is_drawn_evenly_on_its_scales() -> None:
    affine, rng = RandomAffine3D(), np.random.default_rng(0)
    drawn = [affine.draw(rng, {}) for _ in range(DRAWS)]
    scales = np.array([p.magnification for p in drawn if p.magnification != 1])
    angles = np.rad2deg([p.angle for p in drawn if p.angle])

    assert_rate(len(scales), 0.4)
    assert_rate(len(angles), 0.2)
    assert 0.75 <= scales.min() < 0.77 and 1.27 < scales.max() <= 1.3
    np.testing.assert_allclose(
        np.log(scales).mean(), np.log([0.75, 1.3]).mean(), atol=0.03
    )
    assert np.abs(angles).max() <= 25 and abs(angles.mean()) < 4
