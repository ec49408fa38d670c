"""Nodules are inserted as targets, shams as none, and test patients never."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lungdet.datasets import ConcatCases, LUNA16Dataset, Sample
from lungdet.datasets.transforms import NoduleInsertion
from lungdet.errors import ConfigError
from lungdet.insertion.draw import INTO_WALL_MM, draw_sham
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import write_library
from lungdet.ops import centers_inside
from lungdet.structures import CaseNodule
from tests.datasets.stores import write_airy
from tests.io.nodules import ball_nodule


@pytest.fixture(scope='module')
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Nodules of patients A, B, C; B's scan is 3.4, C's patient P3.3."""
    path = tmp_path_factory.mktemp('library') / 'nodules.npz'
    write_library(
        path,
        [
            ball_nodule('a', patient='A', diameter_mm=7.0),
            ball_nodule('b', patient='B', series_uid='3.4'),
            ball_nodule('b2', patient='B', series_uid='9.9'),
            ball_nodule('c', patient='P3.3', site='vessel'),
        ],
    )
    return str(path)


def whole_case(root: Path, uid: str = '3.1', **values: object) -> Sample:
    """A case as one crop."""
    store = CaseStore(root)
    record = store.records[uid]
    return {
        'store': store,
        'record': record,
        'geometry': record.geometry,
        'image': store.read(uid, 'image'),
        'mask': np.zeros(record.geometry.shape, dtype=np.uint8),
        'gt_nodules': [],
        'gt_boxes': np.zeros((0, 6)),
        'ignored_boxes': np.zeros((0, 6)),
        'held_out': frozenset(),
        'kind': 'lung',
        **values,
    }


def nodules_in(placements: tuple[Mapping, ...]) -> list[Mapping]:
    return [values for values in placements if values['kind'] == 'nodule']


def test_the_label_is_where_the_nodule_is(airy: Path, library: str) -> None:
    transform = NoduleInsertion(library, prob=1.0, count=(1, 1), sham_only=0)
    sample = whole_case(airy)

    for seed in range(6):
        params = transform.draw(np.random.default_rng(seed), sample)
        out = transform.apply(sample, params)

        (placed_at,) = nodules_in(params.placements)
        (nodule,) = out['gt_nodules']
        voxels = out['mask'] == nodule.id
        index = sample['geometry'].to_index([nodule.center_mm])[0]
        assert np.allclose(index, placed_at['center'])
        # the mask is the ball of this centre and diameter
        assert np.abs(np.argwhere(voxels).mean(0) - index).max() < 0.5
        grid = np.indices(voxels.shape).transpose(1, 2, 3, 0)
        away = np.linalg.norm(grid - index, axis=-1)
        ball = int((away <= nodule.diameter_mm / 2).sum())
        assert voxels.sum() == pytest.approx(ball, rel=0.08)
        (box,) = out['gt_boxes']
        assert box[3:] - box[:3] == pytest.approx([nodule.diameter_mm] * 3)
        brighter = out['image'] - sample['image']
        assert brighter[voxels].mean() > 300
        assert out['image'][voxels].max() < 300


def test_an_id_is_not_given_twice(airy: Path, library: str) -> None:
    transform = NoduleInsertion(library, prob=1.0, count=(1, 1), sham_only=0)
    outside = CaseNodule(  # of the case, without a voxel in the crop
        id=1,
        center_mm=(0, 0, 0),
        diameter_mm=5.0,
        box=(0, 0, 0, 1, 1, 1),
        has_mask=True,
        mask_box=(0, 0, 0, 1, 1, 1),
    )
    sample = whole_case(airy, gt_nodules=[outside], gt_boxes=np.zeros((1, 6)))

    params = transform.draw(np.random.default_rng(0), sample)
    out = transform.apply(sample, params)

    assert [nodule.id for nodule in out['gt_nodules']] == [1, 2]
    assert set(np.unique(out['mask'])) == {0, 2}


def test_shams_are_no_targets_and_at_least_as_many(
    airy: Path, library: str
) -> None:
    transform = NoduleInsertion(library, prob=0.7)
    sample = whole_case(airy)
    shams = nodules = 0

    for seed in range(60):
        params = transform.draw(np.random.default_rng(seed), sample)
        inside = len(nodules_in(params.placements))
        assert inside <= len(params.placements) - inside
        nodules += inside
        shams += len(params.placements) - inside

    assert 20 < nodules < shams
    only = NoduleInsertion(library, prob=1.0, sham_only=1.0)
    params = only.draw(np.random.default_rng(0), sample)
    out = only.apply(sample, params)
    assert not out['gt_nodules'] and not out['mask'].any()
    assert (out['image'] != sample['image']).any()


def test_where_a_sham_has_no_room_there_is_one_nodule_less(
    airy: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    monkeypatch.setattr(
        'lungdet.datasets.transforms.insertion.draw_sham',
        lambda *values: draw_sham(*values) if next(calls) % 2 else None,
    )
    transform = NoduleInsertion(library, prob=1.0, count=(4, 4), sham_only=0)

    for seed in range(3):
        params = transform.draw(np.random.default_rng(seed), whole_case(airy))
        kinds = [values['kind'] for values in params.placements]
        assert sorted(kinds) == ['nodule'] * 2 + ['sham'] * 2


def test_insertions_stay_away_from_the_faces(airy: Path, library: str) -> None:
    """Else a target would be drawn that a crop of it could not have."""
    transform = NoduleInsertion(
        library, prob=1.0, count=(3, 3), sham_only=0, min_inside=16.0
    )
    sample = whole_case(airy)
    shape = sample['geometry'].shape
    num_targets = 0

    for seed in range(10):
        params = transform.draw(np.random.default_rng(seed), sample)
        boxes = transform.apply(sample, params)['gt_boxes']
        num_targets += len(boxes)
        assert centers_inside(torch.from_numpy(boxes), shape, 16.0).all()
        # index coordinates, in which the faces lie at -0.5
        at = np.array([values['center'] for values in params.placements])
        to_face = np.minimum(at + 0.5, np.array(shape) - 0.5 - at)
        assert to_face.min() >= 16

    assert num_targets > 10


def test_insertions_stay_in_the_lungs_and_apart(
    airy: Path, library: str
) -> None:
    transform = NoduleInsertion(library, prob=1.0, count=(2, 3), sham_only=0)
    sample = whole_case(airy)
    lungs = sample['store'].read('3.1', 'lungs')

    for seed in range(15):
        params = transform.draw(np.random.default_rng(seed), sample)
        out = transform.apply(sample, params)

        inside = out['mask'] > 0
        assert lungs[inside].mean() > 0.95
        assert len(out['gt_nodules']) == len(nodules_in(params.placements))
        centers = np.array([n.center_mm for n in out['gt_nodules']])
        radii = np.array([n.diameter_mm / 2 for n in out['gt_nodules']])
        gaps = np.linalg.norm(centers[:, None] - centers, axis=-1)
        gaps += 100 * np.eye(len(centers))
        assert (gaps > radii[:, None] + radii + 2.5).all()


def test_a_nodule_of_the_wall_sits_on_it(airy: Path, tmp_path: Path) -> None:
    write_library(
        tmp_path / 'wall.npz',
        [
            ball_nodule(
                'w', site='pleura', wall_mm=0.0, wall_direction=(1.0, 0.0)
            )
        ],
    )
    transform = NoduleInsertion(
        str(tmp_path / 'wall.npz'), prob=1.0, count=(1, 1), sham_only=0
    )
    sample = whole_case(airy)
    errors = []

    for seed in range(20):
        params = transform.draw(np.random.default_rng(seed), sample)
        if not nodules_in(params.placements):
            continue
        (nodule,) = transform.apply(sample, params)['gt_nodules']
        x = sample['geometry'].to_index([nodule.center_mm])[0, 2]
        # lung begins at the edge 8.5 of x. What counts as the nodule's side is
        # the plane that cuts off 1.5 % of a ball, at 0.85 of its radius
        radius = nodule.diameter_mm / 2
        errors.append(8.5 - (x - 0.85 * radius) - INTO_WALL_MM)

    # half a step of the search, and a little for the direction of the wall
    assert len(errors) > 10 and np.abs(errors).max() < 0.45
    assert abs(np.mean(errors)) < 0.15


def test_findings_are_kept_free(airy: Path, library: str) -> None:
    transform = NoduleInsertion(library, prob=1.0, count=(2, 2), sham_only=0)
    taken = np.array([[0, 0, 9, 64, 66, 44.0]])
    sample = whole_case(airy, ignored_boxes=taken)
    params = transform.draw(np.random.default_rng(1), sample)
    out = transform.apply(sample, params)

    assert (out['image'] == sample['image'])[:, :, 10:40].all()


def test_nodules_of_held_out_patients_are_not_drawn(
    airy: Path, library: str
) -> None:
    transform = NoduleInsertion(library, prob=1.0, sham_only=0)
    # the library knows 3.4 as a scan of B, and so B's other nodule
    sample = whole_case(airy, held_out=frozenset({'3.4', 'P3.3'}))

    for seed in range(20):
        params = transform.draw(np.random.default_rng(seed), sample)
        drawn = {values['index'] for values in nodules_in(params.placements)}
        assert drawn <= {0}

    every = whole_case(airy, held_out=frozenset({'A', 'B', 'P3.3'}))
    with pytest.raises(ConfigError, match='all nodules belong to patients'):
        transform.draw(np.random.default_rng(0), every)


def test_a_test_patients_nodule_is_an_error_even_if_it_was_drawn(
    airy: Path, library: str
) -> None:
    transform = NoduleInsertion(library, prob=1.0, count=(1, 1), sham_only=0)
    sample = whole_case(airy)
    params = transform.draw(np.random.default_rng(0), sample)
    placements = tuple(
        {**values, 'index': 2} if values['kind'] == 'nodule' else values
        for values in params.placements
    )

    with pytest.raises(ConfigError, match='b2: its patient B is in the test'):
        transform.apply(
            {**sample, 'held_out': frozenset({'3.4'})},
            replace(params, placements=placements),
        )


def training(
    root: Path,
    library: str,
    *,
    kinds: tuple[str, ...] | None = None,
    crops: Mapping[str, int] = {'lung': 12},
    **options: object,
) -> LUNA16Dataset:
    insertion = {
        'type': 'NoduleInsertion',
        'source': library,
        'prob': 1.0,
        'sham_only': 0.0,
        'kinds': kinds,
    }
    return LUNA16Dataset(
        root,
        'train',
        pipeline=[
            {'type': 'PlaceCrop', 'size': (64, 64, 64)},
            {'type': 'LoadCrop', 'pad_hu': -1000},
            insertion,
            {'type': 'PackDetInputs'},
        ],
        crops=crops,
        **options,
    )


def test_a_data_set_knows_whom_it_holds_out_and_whom_it_trains_on(
    airy: Path, library: str
) -> None:
    data = training(airy, library)

    # test 3.4 bars patient B, validation P3.3 bars C
    assert data.held_out == {'3.3', 'P3.3', '3.4', 'P3.4'}
    assert data.metainfo['patients'] == ['1.2.a', 'A', 'P3.1', 'P3.2']
    boxes = [
        len(sample['data_samples'].gt_instances.bboxes) for sample in data
    ]
    assert sum(boxes) > 3


def test_crops_of_other_kinds_are_left_alone(airy: Path, library: str) -> None:
    crops = {'lung': 4, 'inserted': 4}
    data = training(airy, library, kinds=('inserted',), crops=crops)
    lungs = training(airy, library, kinds=(), crops={'lung': 8})

    for index, kind in enumerate(data.kinds):
        sample, same = data[index], lungs[index]
        is_changed = bool((sample['inputs'] != same['inputs']).any())
        assert is_changed == (kind == 'inserted')
    assert 'A' in data.metainfo['patients']


@pytest.mark.parametrize(
    ('kinds', 'crops', 'message'),
    [
        (('lung',), {'inserted': 1}, 'crops.inserted: nothing is inserted'),
        (('insert',), {'inserted': 1}, "'insert' is not a kind of crop"),
    ],
)
def test_crops_that_nothing_is_inserted_into_are_refused(
    airy: Path,
    library: str,
    kinds: tuple[str, ...],
    crops: dict[str, int],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        training(airy, library, kinds=kinds, crops=crops)


def test_other_folders_hold_out_too(
    airy: Path, library: str, tmp_path: Path
) -> None:
    from lungdet.io.case_store import rebuild_index

    for uid, subset in (('5.1', 0), ('1.2.a', 9)):
        write_airy(tmp_path, uid, subset)
    rebuild_index(tmp_path)
    one = training(airy, library)
    pipeline = [
        {'type': 'PlaceCrop', 'size': (64, 64, 64)},
        {'type': 'LoadCrop'},
        {'type': 'NoduleInsertion', 'source': library},
        {'type': 'PackDetInputs'},
    ]

    both = ConcatCases(
        [
            {
                'type': 'LUNA16Dataset',
                'data_root': root,
                'pipeline': pipeline,
                'crops': {'lung': 2},
            }
            for root in (str(airy), str(tmp_path))
        ]
    )

    assert 'A' in one.metainfo['patients']
    assert 'A' not in both.metainfo['patients']  # 1.2.a is the other's test
    assert all('1.2.a' in data.held_out for data in both.datasets)
