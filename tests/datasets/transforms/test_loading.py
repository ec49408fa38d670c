"""Crops against a voxel-wise reading of the case through the affine alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from lungdet.datasets import LUNA16Dataset
from lungdet.datasets.transforms.loading import excluded_boxes
from lungdet.engine import Key
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry, box_of_mask, move_boxes
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.structures import CaseNodule, CaseRecord
from tests.datasets.stores import (
    BALLS_GRID,
    CUBES,
    CUBES_GRID,
    FULL_TURN,
    LONE_FINDING,
    SPATIAL,
    cubes_store,
    training_crops,
)


def test_cut_nodules_and_excluded_findings_are_ignored(tmp_path: Path) -> None:
    data = training_crops(cubes_store(tmp_path), size=(32, 32, 32), margin=4)
    for epoch in range(8):
        sample = data[Key(0, epoch, 0)]['data_samples']
        grid = Geometry((32, 32, 32), np.asarray(sample.affine))
        boxes = sample.ignored_instances.bboxes.numpy()
        targets = set(sample.gt_instances.ids.tolist())
        for number, cube in enumerate(CUBES, start=1):
            center = CUBES_GRID.box_center_world(np.array([cube]))
            (middle,) = grid.to_index(center) + 0.5
            inside = ((middle >= 4) & (middle <= 28)).all()
            assert (number in targets) == inside
            half = (cube[3] - cube[0]) / 2
            touches = ((middle + half > 0) & (middle - half < 32)).all()
            near = (
                np.abs((boxes[:, :3] + boxes[:, 3:]) / 2 - middle).max(1)
                if len(boxes)
                else np.array([])
            )
            # the excluded finding at nodule 1 must not hide it
            assert (near < 1e-3).any() == (touches and not inside)


@pytest.mark.parametrize('name', SPATIAL)
def test_every_voxel_is_where_its_affine_says(balls: Path, name: str) -> None:
    data = training_crops(balls, *SPATIAL[name], load={'pad_hu': -77})
    image = CaseStore(balls).read('1.1', 'image').astype(float)
    mask = CaseStore(balls).read('1.1', 'mask')
    shape = np.array(BALLS_GRID.shape)[:, None]
    for index in range(3):
        out = data[Key(index, 2, index)]
        sample = out['data_samples']
        crop = out['inputs'][0].numpy()
        world = Geometry(crop.shape, np.asarray(sample.affine)).to_world(
            np.indices(crop.shape).reshape(3, -1).T
        )
        positions = BALLS_GRID.to_index(world).T
        wanted = map_coordinates(
            np.pad(image, 2, constant_values=-77),
            positions + 2,
            order=1,
            mode='nearest',
        ).reshape(crop.shape)
        assert np.abs(crop - wanted).max() < 0.6  # rounding alone is 0.5

        near = np.floor(positions + 0.5).astype(int)
        clear = np.abs(positions - near).max(0) < 0.499  # no tie
        inside = (near >= 0).all(0) & (near < shape).all(0)
        ids = np.zeros(near.shape[1], dtype=np.uint8)
        ids[inside] = mask[tuple(near[:, inside])]
        labels = sample.gt_masks.numpy().ravel()
        np.testing.assert_array_equal(labels[clear], ids[clear])
        assert clear.mean() > 0.9


def test_touching_nodules_stay_two(balls: Path) -> None:
    data = training_crops(balls, FULL_TURN, size=(48, 64, 64))
    compared = 0
    for epoch in range(10):
        sample = data[Key(0, epoch, 0)]['data_samples']
        gt, masks = sample.gt_instances, sample.gt_masks.numpy()
        for number in sorted({1, 2} & set(gt.ids.tolist())):
            box = gt.bboxes[gt.ids.tolist().index(number)].numpy()
            if (box[:3] < 0).any() or (box[3:] > masks.shape).any():
                continue
            compared += 1
            voxels = np.argwhere(masks == number) + 0.5
            # nearest sampling is half a voxel off at most; a merged pair
            # would be off by the nodule's radius
            middle = (box[:3] + box[3:]) / 2
            np.testing.assert_allclose(voxels.mean(0), middle, atol=0.5)
            np.testing.assert_allclose(
                box_of_mask(masks == number), box, atol=1.3
            )
    assert compared >= 10


@pytest.mark.parametrize('name', SPATIAL)
def test_annotated_boxes_keep_their_sides(tmp_path: Path, name: str) -> None:
    """Sides of 4, 8 and 30 are no cube of their mean, in training or test."""
    box = np.array([30.0, 36, 40, 34, 44, 70])
    (middle,) = BALLS_GRID.box_center_world(box)
    for uid, subset in (('1.1', 0), ('1.9', 9)):
        nodule = CaseNodule(1, tuple(middle.tolist()), 9.9, tuple(box))
        record = CaseRecord(
            uid, subset, BALLS_GRID, BALLS_GRID, 1.0, [nodule], [], 'computed'
        )
        lungs = np.zeros(BALLS_GRID.shape, np.uint8)
        image = np.zeros(BALLS_GRID.shape, np.int16)
        write_case(tmp_path, record, {'image': image, 'lungs': lungs})
    rebuild_index(tmp_path)
    data = training_crops(tmp_path, *SPATIAL[name], size=(48, 64, 64))

    for epoch in range(4):
        sample = data[Key(0, epoch, 0)]['data_samples']
        grid = Geometry((48, 64, 64), np.asarray(sample.affine))
        (target,) = sample.gt_instances.bboxes.numpy()
        (wanted,) = move_boxes(box, BALLS_GRID, grid)
        np.testing.assert_allclose(target, wanted, atol=1e-3)
        if name == 'signed':
            assert sorted(target[3:] - target[:3]) == pytest.approx([4, 8, 30])

    whole = LUNA16Dataset(
        tmp_path,
        'test',
        pipeline=[
            {'type': 'LoadCase', 'targets': True},
            {'type': 'PackDetInputs'},
        ],
    )[0]['data_samples']
    np.testing.assert_allclose(whole.gt_instances.bboxes.numpy(), [box])


def test_finding_without_diameter_is_a_ball_of_10_mm(balls: Path) -> None:
    data = training_crops(balls, size=(48, 64, 64), margin=4)
    world = BALLS_GRID.to_world(np.array([LONE_FINDING]))
    compared = 0
    for epoch in range(10):
        sample = data[Key(0, epoch, 0)]['data_samples']
        crop = Geometry((48, 64, 64), np.asarray(sample.affine))
        (middle,) = crop.to_index(world) + 0.5
        wanted = np.concatenate([middle - 5, middle + 5])
        if (wanted[3:] <= 0).any() or (wanted[:3] >= crop.shape).any():
            continue
        compared += 1
        boxes = sample.ignored_instances.bboxes.numpy()
        assert np.abs(boxes - wanted).max(1).min() < 1e-4
    assert compared


def test_excluded_findings_at_a_nodule_are_no_regions(tmp_path: Path) -> None:
    record = CaseStore(cubes_store(tmp_path)).records['1.1']

    (far,) = excluded_boxes(record, CUBES_GRID)
    beyond = excluded_boxes(record, CUBES_GRID.crop((0, 0, 0), (40, 40, 40)))

    np.testing.assert_allclose(far, [55.5, 55.5, 55.5, 65.5, 65.5, 65.5])
    assert beyond.shape == (0, 6)
    record.excluded.clear()
    assert excluded_boxes(record, CUBES_GRID).shape == (0, 6)


def test_whole_case_has_its_targets_where_they_are_wanted(
    balls: Path,
) -> None:
    def load(**options: object) -> dict:
        pipeline = [{'type': 'LoadCase', **options}, {'type': 'PackDetInputs'}]
        return LUNA16Dataset(balls, 'test', pipeline=pipeline)[0]

    bare, full = load(), load(targets=True)

    store = CaseStore(balls)
    np.testing.assert_array_equal(
        bare['inputs'][0], store.read('1.9', 'image')
    )
    assert 'gt_instances' not in bare['data_samples']
    sample = full['data_samples']
    assert sample.gt_instances.ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(sample.gt_masks, store.read('1.9', 'mask'))
    assert sample.ignored_instances.bboxes.shape == (1, 6)


def test_lungs_come_with_a_case_whose_detections_are_filtered(
    balls: Path, tmp_path: Path
) -> None:
    pipeline = [
        {'type': 'LoadCase', 'lung_margin_mm': 8.0},
        {'type': 'PackDetInputs'},
    ]

    sample = LUNA16Dataset(balls, 'test', pipeline=pipeline)[0]['data_samples']

    store = CaseStore(balls)
    lungs = store.read('1.9', 'lungs') > 0
    np.testing.assert_array_equal(sample.lungs, lungs)
    assert sample.lung_margin == 8.0 / store.records['1.9'].spacing_mm
    path = tmp_path / 'candidates.csv'
    path.write_text('seriesuid,coordX,coordY,coordZ\n1.9,0,0,0\n')
    pipeline.insert(1, {'type': 'LoadCandidates', 'path': str(path)})
    with pytest.raises(ConfigError, match='a candidate list is scored whole'):
        LUNA16Dataset(balls, 'test', pipeline=pipeline)[0]


def test_the_lung_margin_is_in_voxels_of_the_case(tmp_path: Path) -> None:
    grid = Geometry.from_parts(
        (20, 24, 28), spacing_zyx=(2, 2, 2), origin_xyz=(5, -7, 11)
    )
    record = CaseRecord('1.9', 9, grid, grid, 2.0, [], [], 'computed')
    image = np.zeros(grid.shape, np.int16)
    lungs = np.ones(grid.shape, np.uint8)
    write_case(tmp_path, record, {'image': image, 'lungs': lungs})
    rebuild_index(tmp_path)

    sample = LUNA16Dataset(
        tmp_path,
        'test',
        pipeline=[
            {'type': 'LoadCase', 'lung_margin_mm': 8.0},
            {'type': 'PackDetInputs'},
        ],
    )[0]['data_samples']

    assert sample.lung_margin == 4.0


def test_candidates_are_cubes_at_their_points(
    balls: Path, tmp_path: Path
) -> None:
    x, y, z = BALLS_GRID.to_world(np.array([[30.0, 40, 45]]))[0]
    path = tmp_path / 'candidates.csv'
    path.write_text(
        'seriesuid,coordX,coordY,coordZ\n'
        f'1.9,{x:.6f},{y:.6f},{z:.6f}\n1.1,0,0,0\n'
    )
    data = LUNA16Dataset(
        balls,
        'test',
        pipeline=[
            {'type': 'LoadCase'},
            {'type': 'LoadCandidates', 'path': str(path), 'diameter_mm': 6},
            {'type': 'PackDetInputs'},
        ],
    )

    boxes = data[0]['data_samples'].candidates.bboxes.numpy()

    wanted = [[27.5, 37.5, 42.5, 33.5, 43.5, 48.5]]
    np.testing.assert_allclose(boxes, wanted, atol=1e-5)
