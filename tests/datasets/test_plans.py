"""Crops against a voxel-wise reading of the case through the affine alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import pseudo_collate
from scipy.ndimage import affine_transform, map_coordinates
from torch.utils.data import DataLoader

from lungdet.datasets import (
    LUNA16Dataset,
    RandomFlip3D,
    RandomGamma,
    RandomHUShiftScale,
    luna16_dataset,
)
from lungdet.datasets.transforms.loading import read_plan, warp_planes
from lungdet.datasets.transforms.spatial import PlaceCrop, RandomTransposeXY
from lungdet.engine import ExactSampler, Key
from lungdet.errors import ConfigError, SeriesError
from lungdet.geometry import Geometry, box_of_mask, move_boxes
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.structures import Annotation, CaseNodule, CaseRecord

SHAPE = (70, 85, 100)
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
GRID = Geometry.from_parts(
    SHAPE, spacing_zyx=(1, 1, 1), origin_xyz=(5, -7, 11), direction=TURN
)
# centre (z, y, x) and radius; the first two touch, the third is at a corner
BALLS = [((30, 40, 45), 5), ((30, 40, 55), 5), ((9, 8, 90), 6)]
FULL_TURN = {
    'type': 'RandomAffine3D',
    'scale': (0.75, 1.3),
    'scale_prob': 1.0,
    'degrees': 180,
    'rotate_prob': 1.0,
}


def write_balls(root: Path, uid: str, subset: int, nodules: bool) -> None:
    noise = np.random.default_rng(5)
    # smooth, so that linear interpolation is near the truth everywhere
    image = noise.normal(size=SHAPE).cumsum(0).cumsum(1).cumsum(2)
    image = (image / np.abs(image).max() * 900).astype(np.int16)
    mask, lungs = np.zeros((2, *SHAPE), dtype=np.uint8)
    lungs[40:50, 20:30, 60:80] = 1
    rows = []
    grid = np.indices(SHAPE)
    for number, (center, radius) in enumerate(BALLS if nodules else [], 1):
        away = grid - np.reshape(center, (3, 1, 1, 1))
        mask[((away**2).sum(0) <= radius**2) & (mask == 0)] = number
        world = GRID.to_world(np.array([center], dtype=float))
        (box,) = GRID.sphere_box(world, 2.0 * radius)
        rows.append(
            CaseNodule(
                number,
                tuple(world[0].tolist()),
                2.0 * radius,
                tuple(box.tolist()),
                has_mask=True,
            )
        )
    (lone,) = GRID.to_world(np.array([[30.0, 60.0, 50.0]]))
    record = CaseRecord(
        uid,
        subset,
        GRID,
        GRID,
        1.0,
        rows,
        [Annotation(tuple(lone.tolist()), None)],
        'computed',
    )
    write_case(root, record, {'image': image, 'mask': mask, 'lungs': lungs})


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('balls')
    write_balls(folder, '1.1', 0, True)
    write_balls(folder, '1.2', 1, False)
    write_balls(folder, '1.9', 9, True)
    rebuild_index(folder)
    return folder


def build(
    root: Path,
    *middle: dict,
    size: tuple[int, int, int] = (32, 48, 64),
    margin: int = 8,
    load: dict | None = None,
    **options: object,
) -> LUNA16Dataset:
    return LUNA16Dataset(
        root,
        'train',
        pipeline=[
            {'type': 'PlaceCrop', 'size': size, 'margin': margin},
            *middle,
            {'type': 'LoadCrop', **(load or {})},
            {'type': 'PackDetInputs'},
        ],
        **options,
    )


MIDDLES = {
    'signed': [
        {'type': 'RandomFlip3D'},
        {'type': 'RandomTransposeXY', 'prob': 1.0},
    ],
    'turned': [FULL_TURN],
    'all': [
        {'type': 'RandomFlip3D'},
        {'type': 'RandomTransposeXY'},
        FULL_TURN,
        {'type': 'RandomFlip3D'},
    ],
}


@pytest.mark.parametrize('name', MIDDLES)
def test_every_voxel_is_where_its_affine_says(root: Path, name: str) -> None:
    data = build(root, *MIDDLES[name], load={'pad_hu': -77})
    image = CaseStore(root).read('1.1', 'image').astype(float)
    mask = CaseStore(root).read('1.1', 'mask')
    for index in range(3):
        out = data[Key(index, 2, index)]
        sample = out['data_samples']
        seen = out['inputs'][0].numpy()
        world = Geometry(seen.shape, np.asarray(sample.affine)).to_world(
            np.indices(seen.shape).reshape(3, -1).T
        )
        place = GRID.to_index(world).T
        wanted = map_coordinates(
            np.pad(image, 2, constant_values=-77),
            place + 2,
            order=1,
            mode='nearest',
        ).reshape(seen.shape)
        assert np.abs(seen - wanted).max() < 0.6  # rounding alone is 0.5

        near = np.floor(place + 0.5).astype(int)
        clear = np.abs(place - near + 0.0).max(0) < 0.499  # no tie
        inside = (near >= 0).all(0) & (near < np.array([SHAPE]).T).all(0)
        ids = np.zeros(near.shape[1], dtype=np.uint8)
        ids[inside] = mask[tuple(near[:, inside])]
        found = sample.gt_masks.numpy().ravel()
        np.testing.assert_array_equal(found[clear], ids[clear])
        assert clear.mean() > 0.9


@pytest.mark.parametrize('size', [(32, 48, 64), (48, 48, 48)])
def test_no_draw_moves_a_nodule_out_of_its_crop(
    root: Path, size: tuple[int, int, int]
) -> None:
    data = build(root, *MIDDLES['all'], size=size)
    for epoch in range(25):
        for index, (_, radius) in enumerate(BALLS):
            sample = data[Key(index, epoch, index)]['data_samples']
            gt = sample.gt_instances
            assert index + 1 in gt.ids.tolist()
            box = gt.bboxes[gt.ids.tolist().index(index + 1)].numpy()
            grown = 0.3 * radius  # margin that magnification may take
            spare = min(box[:3].min(), (size - box[3:]).min())
            assert spare >= 8 - grown - 1.01


def test_touching_nodules_stay_two(root: Path) -> None:
    data = build(root, FULL_TURN, size=(48, 64, 64))
    for epoch in range(10):
        sample = data[Key(0, epoch, 0)]['data_samples']
        gt, masks = sample.gt_instances, sample.gt_masks.numpy()
        for number in sorted({1, 2} & set(gt.ids.tolist())):
            box = gt.bboxes[gt.ids.tolist().index(number)].numpy()
            if (box[:3] < 0).any() or (box[3:] > masks.shape).any():
                continue
            mine = np.argwhere(masks == number) + 0.5
            # nearest sampling is half a voxel off at most; a merged pair
            # would be off by the nodule's radius
            middle = (box[:3] + box[3:]) / 2
            np.testing.assert_allclose(mine.mean(0), middle, atol=0.5)
            np.testing.assert_allclose(
                box_of_mask(masks == number), box, atol=1.3
            )


def literal_linear(source: np.ndarray, index: np.ndarray) -> float:
    total, low = 0.0, np.floor(index).astype(int)
    for corner in np.ndindex(2, 2, 2):
        at = np.clip(low + corner, 0, np.array(source.shape) - 1)
        share = np.where(corner, index - low, 1 - (index - low)).prod()
        total += share * source[tuple(at)]
    return total


@given(
    angle=st.floats(-3.2, 3.2),
    factor=st.floats(0.7, 1.4),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    shift=st.tuples(*[st.floats(-2, 9)] * 3),
    seed=st.integers(0, 99),
)
def test_warp_equals_the_literal_one(
    angle: float, factor: float, signs: tuple, shift: tuple, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    source = rng.integers(-1024, 3071, (9, 11, 8)).astype(np.int16)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    matrix, offset = np.diag(signs) @ turn / factor, np.array(shift)
    size = np.array((4, 5, 6))

    found = warp_planes(source, matrix, offset, size=size, order=1)

    assert found.dtype == np.float32 and found.shape == tuple(size)
    for j in rng.integers(0, size, (12, 3)):
        index = np.clip(offset + matrix @ j, 0, np.array(source.shape) - 1)
        assert found[tuple(j)] == pytest.approx(
            literal_linear(source, index), abs=0.05
        )
    labels = (source > 2000).astype(np.uint8)
    nearest = affine_transform(
        labels,
        matrix,
        offset,
        output_shape=tuple(size),
        order=0,
        mode='nearest',
    )
    places = np.indices(tuple(size)).reshape(3, -1)
    places = matrix @ places + offset[:, None]
    tie = np.abs(places - np.floor(places) - 0.5).min(0) < 1e-6
    got = warp_planes(labels, matrix, offset, size=size, order=0)
    np.testing.assert_array_equal(got.ravel()[~tie], nearest.ravel()[~tie])


def test_tilted_plan_is_read_in_three_axes(root: Path) -> None:
    store, image = CaseStore(root), CaseStore(root).read('1.1', 'image')
    tilt = np.array([[0.8, 0, -0.6], [0, 1, 0], [0.6, 0, 0.8]])
    corner, size = np.array([20.0, 30.0, 25.5]), np.array([10, 12, 14])

    found = read_plan(
        store,
        '1.1',
        'image',
        matrix=tilt,
        corner=corner,
        size=size,
        order=1,
        fill=0,
        shape=SHAPE,
    )

    for j in np.random.default_rng(1).integers(0, size, (20, 3)):
        wanted = literal_linear(image, corner + tilt @ j)
        assert found[tuple(j)] == pytest.approx(wanted, abs=0.05)


class Scripted:
    """A generator whose every choice is the last option."""

    def choice(self, options: tuple) -> int:
        return options[0]

    def random(self) -> float:
        return 0.0


def test_flips_and_swaps_twice_are_the_plain_slice(root: Path) -> None:
    store = CaseStore(root)
    results = {
        'store': store,
        'record': store.records['1.1'],
        'kind': 'nodule',
        'nodule': 2,
        'rng': np.random.default_rng(3),
    }
    PlaceCrop((16, 24, 40), margin=2)(results)
    plain = {k: np.array(results[k]) for k in ('center', 'matrix')}
    results['rng'] = Scripted()

    RandomFlip3D()(results)
    np.testing.assert_array_equal(results['matrix'], -np.eye(3))
    RandomFlip3D()(results)
    RandomTransposeXY(1.0)(results)
    assert results['matrix'][1, 2] == 1
    RandomTransposeXY(1.0)(results)

    for key, value in plain.items():
        np.testing.assert_array_equal(results[key], value)
    low = (plain['center'] - (np.array((16, 24, 40)) - 1) / 2).astype(int)
    inner = tuple(slice(max(a, 0), a + n) for a, n in zip(low, (16, 24, 40)))
    crop = read_plan(
        store,
        '1.1',
        'image',
        matrix=results['matrix'],
        corner=low,
        size=np.array((16, 24, 40)),
        order=1,
        fill=0,
        shape=SHAPE,
    )
    seen = tuple(slice(max(-a, 0), None) for a in low)
    whole = store.read('1.1', 'image')[inner]
    np.testing.assert_array_equal(
        crop[seen][tuple(slice(n) for n in whole.shape)], whole
    )


@pytest.mark.parametrize('name', MIDDLES)
def test_annotated_boxes_keep_their_sides(tmp_path: Path, name: str) -> None:
    """Sides of 4, 8 and 30 are no cube of their mean, in training or test."""
    box = np.array([30.0, 36, 40, 34, 44, 70])
    (middle,) = GRID.box_center_world(box)
    for uid, subset in (('1.1', 0), ('1.9', 9)):
        nodule = CaseNodule(1, tuple(middle.tolist()), 9.9, tuple(box))
        record = CaseRecord(
            uid, subset, GRID, GRID, 1.0, [nodule], [], 'computed'
        )
        lungs = np.zeros(SHAPE, np.uint8)
        image = np.zeros(SHAPE, np.int16)
        write_case(tmp_path, record, {'image': image, 'lungs': lungs})
    rebuild_index(tmp_path)
    data = build(tmp_path, *MIDDLES[name], size=(48, 64, 64))

    for epoch in range(4):
        sample = data[Key(0, epoch, 0)]['data_samples']
        grid = Geometry((48, 64, 64), np.asarray(sample.affine))
        (found,) = sample.gt_instances.bboxes.numpy()
        (wanted,) = move_boxes(box, GRID, grid)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        if name == 'signed':
            assert sorted(found[3:] - found[:3]) == pytest.approx([4, 8, 30])

    whole = LUNA16Dataset(
        tmp_path,
        'test',
        pipeline=[
            {'type': 'LoadCase', 'targets': True},
            {'type': 'PackDetInputs'},
        ],
    )[0]['data_samples']
    np.testing.assert_allclose(whole.gt_instances.bboxes.numpy(), [box])


def test_finding_without_diameter_is_a_ball_of_10_mm(root: Path) -> None:
    data = build(root, size=(48, 64, 64), margin=4)
    met = 0
    for epoch in range(10):
        sample = data[Key(0, epoch, 0)]['data_samples']
        crop = Geometry((48, 64, 64), np.asarray(sample.affine))
        (middle,) = crop.to_index(GRID.to_world([[30.0, 60.0, 50.0]])) + 0.5
        wanted = np.concatenate([middle - 5, middle + 5])
        if (wanted[3:] <= 0).any() or (wanted[:3] >= crop.shape).any():
            continue
        met += 1
        boxes = sample.ignored_instances.bboxes.numpy()
        assert np.abs(boxes - wanted).max(1).min() < 1e-4
    assert met


def test_box_source_and_border(root: Path) -> None:
    plain, wide, seen = (
        build(root, size=(48, 64, 64), load=load)[Key(2, 0, 2)]
        for load in ({}, {'border': 8}, {'box_source': 'mask'})
    )
    boxes = [
        out['data_samples'].gt_instances.bboxes[0].numpy()
        for out in (plain, wide, seen)
    ]

    np.testing.assert_allclose(
        boxes[1] - boxes[0], [-4, -4, -4, 4, 4, 4], atol=1e-4
    )
    np.testing.assert_array_equal(
        boxes[2], box_of_mask(seen['data_samples'].gt_masks.numpy() == 3)
    )
    assert boxes[2][3] - boxes[2][0] == 13  # voxel centres -6..6
    assert boxes[0][3] - boxes[0][0] == pytest.approx(12, abs=1e-4)
    with pytest.raises(ConfigError, match='box_source'):
        build(root, load={'box_source': 'sphere'})


def test_background_crops_lie_where_they_should(root: Path) -> None:
    lungs = CaseStore(root).read('1.1', 'lungs')
    size = (16, 16, 16)
    data = build(root, size=size, background_ratio=8.0, lung_fraction=0.5)
    uids, kinds = set(), set()
    for index in range(3, 27):
        sample = data[Key(index, 0, index)]['data_samples']
        uid, kind = sample.sample_key.split()[0], sample.sample_key.split()[-1]
        uids.add(uid)
        kinds.add(kind)
        (corner,) = GRID.to_index(np.asarray(sample.affine)[:3, 3][None])
        corner = np.rint(corner).astype(int)
        if kind == 'anywhere':
            assert (corner >= 0).all()
            assert (corner + 16 <= SHAPE).all()
        elif not (corner < 0).any() and lungs[tuple(corner + 8)] == 0:
            assert kind == 'lung'  # 20 tries may miss a small field
            assert (corner + 16 <= SHAPE).all()
    assert uids == {'1.1', '1.2'}  # scans without a nodule too
    assert kinds == {'anywhere', 'lung'}


def results_with(*hu: float, draws: tuple[float, ...]) -> dict:
    it = iter(draws)
    rng = SimpleNamespace(random=lambda: next(it), uniform=lambda *_: next(it))
    return {'image': np.array(hu, dtype=np.int16), 'rng': rng}


def test_intensity_hand_worked() -> None:
    shifted = RandomHUShiftScale(prob=0.5)(
        results_with(-1000, 0, 200, draws=(0.4, 0.1, 30.0))
    )['image']
    np.testing.assert_allclose(shifted, [-1070, 30, 250], atol=1e-3)

    # exponent 2 on the window -1000..1000: share 0, 1/4, 1/2, 1
    bent = RandomGamma(window=(-1000, 1000))(
        results_with(
            -3000, -1000, -500, 0, 1000, 2500, draws=(0.0, np.log(2.0))
        )
    )['image']
    np.testing.assert_allclose(
        bent, [-3000, -1000, -875, -500, 1000, 2500], atol=1e-3
    )
    left = RandomGamma(prob=0.3)(results_with(5, draws=(0.31,)))['image']
    assert left.dtype == np.int16 and left[0] == 5


def test_inputs_are_int16_without_wrapping(root: Path) -> None:
    for transform in (
        {'type': 'RandomHUShiftScale', 'shift': 90000.0, 'prob': 1.0},
        {'type': 'RandomGamma', 'prob': 1.0},
        {'type': 'RandomNoiseBlur', 'prob': 1.0},
    ):
        data = LUNA16Dataset(
            root,
            'train',
            pipeline=[
                {'type': 'PlaceCrop', 'size': (16, 16, 32), 'margin': 1},
                {'type': 'LoadCrop'},
                transform,
                {'type': 'PackDetInputs'},
            ],
        )
        inputs = data[0]['inputs']
        assert str(inputs.dtype) == 'torch.int16'
        assert inputs.shape == (1, 16, 16, 32)
        if transform['type'] == 'RandomHUShiftScale':
            assert abs(int(inputs.float().mean())) > 30000


def test_broken_case_names_sample(root: Path, tmp_path: Path) -> None:
    write_balls(tmp_path, '7.7', 0, True)
    rebuild_index(tmp_path)
    data = build(tmp_path)
    path = tmp_path / 'cases' / '7.7.image.b2nd'
    path.write_bytes(path.read_bytes()[:90])

    with pytest.raises(
        SeriesError, match=r'7\.7 epoch 4 position 9 nodule: .*image\.b2nd'
    ):
        data[Key(1, 4, 9)]
    data.store.records['7.7'].nodules.clear()
    with pytest.raises(RuntimeError, match=r'7\.7 epoch 0 .*IndexError'):
        data[0]


def test_log_says_what_was_left_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        luna16_dataset, 'print_log', lambda text, **_: lines.append(text)
    )
    (tmp_path / '1.9.json').write_text('{}')
    build(root, background_ratio=1.0)
    LUNA16Dataset(
        root, 'test', pipeline=[{'type': 'LoadCase'}], skip_done=tmp_path
    )
    train, test = lines
    assert 'train: kept 2 of 3 prepared scans (1 in test, 0 in val)' in train
    assert '1 without a nodule; 6 samples an epoch: 3 nodules, 3 ' in train
    assert 'test: kept 1 of 3' in test and '1 done already, 0 to do' in test


@pytest.mark.slow
def test_spawned_workers_draw_what_one_process_draws(root: Path) -> None:
    data = build(
        root, *MIDDLES['all'], size=(16, 16, 32), background_ratio=1.0
    )

    def epoch(**options: object) -> list:
        loader = DataLoader(
            data,
            batch_size=2,
            sampler=ExactSampler(data, seed=4),
            collate_fn=pseudo_collate,
            **options,
        )
        return [b for batch in loader for b in batch['inputs']]

    alone = epoch()
    spread = epoch(num_workers=2, multiprocessing_context='spawn')

    assert len(alone) == len(spread) == 6
    assert all(bool((a == b).all()) for a, b in zip(alone, spread))
