from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from lungdet.datasets import LUNA16Dataset
from lungdet.engine import Key
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.structures import Annotation, CaseNodule, CaseRecord

SHAPE = (70, 80, 90)
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
GRID = Geometry.from_parts(
    SHAPE, spacing_zyx=(1, 1, 1), origin_xyz=(5, -7, 11), direction=TURN
)
# two touching cubes and one far away, as integer boxes
CUBES = [
    (20, 30, 40, 28, 38, 48),
    (20, 30, 48, 28, 38, 56),
    (50, 10, 10, 56, 16, 16),
]


def make_record(uid: str, subset: int, patient: str | None = None) -> tuple:
    image = np.full(SHAPE, -900, dtype=np.int16)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    lungs = np.zeros(SHAPE, dtype=np.uint8)
    lungs[30:40, 30:40, 60:70] = 1
    nodules = []
    for number, cube in enumerate(CUBES, start=1):
        z1, y1, x1, z2, y2, x2 = cube
        image[z1:z2, y1:y2, x1:x2] = 100 * number
        mask[z1:z2, y1:y2, x1:x2] = number
        center = tuple(GRID.box_center_world(np.array([cube]))[0].tolist())
        nodules.append(
            CaseNodule(
                number,
                center,
                float(z2 - z1),
                tuple(float(v) for v in cube),
                4,
                True,
                cube,
            )
        )
    far = GRID.to_world(np.array([[60.0, 60, 60]]))[0]
    excluded = [
        Annotation(nodules[0].center_mm, 5.0),
        Annotation(tuple(far.tolist()), None),
    ]
    record = CaseRecord(
        uid,
        subset,
        GRID,
        GRID,
        1.0,
        nodules,
        excluded,
        'computed',
        patient_id=patient,
    )
    return record, {'image': image, 'mask': mask, 'lungs': lungs}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for uid, subset in (('1.1', 0), ('1.2', 8), ('1.3', 9)):
        write_case(tmp_path, *make_record(uid, subset))
    rebuild_index(tmp_path)
    return tmp_path


def build(
    root: Path,
    *middle: dict,
    size: tuple = (32, 48, 64),
    load: dict | None = None,
    **options: object,
) -> LUNA16Dataset:
    return LUNA16Dataset(
        root,
        options.pop('split', 'train'),
        pipeline=[
            {'type': 'PlaceCrop', 'size': size, 'margin': 4},
            *middle,
            {'type': 'LoadCrop', **(load or {})},
            {'type': 'PackDetInputs'},
        ],
        **options,
    )


def test_cut_nodules_and_excluded_findings_are_ignored(root: Path) -> None:
    data = build(root, size=(32, 32, 32))
    for epoch in range(8):
        sample = data[Key(0, epoch, 0)]['data_samples']
        grid = Geometry((32, 32, 32), np.asarray(sample.affine))
        boxes = sample.ignored_instances.bboxes.numpy()
        kept = set(sample.gt_instances.ids.tolist())
        for number, cube in enumerate(CUBES, start=1):
            (middle,) = (
                grid.to_index(GRID.box_center_world(np.array([cube]))) + 0.5
            )
            inside = ((middle >= 4) & (middle <= 28)).all()
            assert (number in kept) == inside
            half = (cube[3] - cube[0]) / 2
            touches = ((middle + half > 0) & (middle - half < 32)).all()
            near = (
                np.abs((boxes[:, :3] + boxes[:, 3:]) / 2 - middle).max(1)
                if len(boxes)
                else np.array([])
            )
            # the excluded mark at nodule 1 must not hide it
            assert (near < 1e-3).any() == (touches and not inside)


def test_nodule_crop_holds_its_nodule_with_margin(root: Path) -> None:
    data = build(root)
    for epoch in range(20):
        sample = data[Key(2, epoch, 5)]['data_samples']
        gt = sample.gt_instances
        (k,) = [i for i, n in enumerate(gt.ids.tolist()) if n == 3]
        box = gt.bboxes[k]
        assert (box[:3] >= 4 - 1e-4).all()
        assert (box[3:].numpy() <= np.array([32, 48, 64]) - 4 + 1e-4).all()


def test_draws_follow_seed_epoch_and_position_alone(root: Path) -> None:
    middle = [
        {'type': 'RandomFlip3D'},
        {'type': 'RandomNoiseBlur', 'prob': 1.0},
        {'type': 'RandomHUShiftScale', 'prob': 1.0},
    ]
    data = LUNA16Dataset(
        root,
        'train',
        background_ratio=1.0,
        pipeline=[
            {'type': 'PlaceCrop', 'size': (32, 32, 32)},
            middle[0],
            {'type': 'LoadCrop'},
            *middle[1:],
            {'type': 'PackDetInputs'},
        ],
    )
    copy = pickle.loads(pickle.dumps(data))

    first = [data[Key(k, 3, k)]['inputs'] for k in range(6)]
    again = [copy[Key(k, 3, k)]['inputs'] for k in reversed(range(6))][::-1]
    other = [data[Key(k, 4, k)]['inputs'] for k in range(6)]

    assert all(bool((a == b).all()) for a, b in zip(first, again))
    assert not any(bool((a == b).all()) for a, b in zip(first, other))
    assert len(data) == 6


def test_split_without_scans_or_without_what_is_measured(root: Path) -> None:
    """Zero scans gave a CPM of 0, and a first checkpoint that stayed best."""
    with pytest.raises(ConfigError, match='test: none of the 3 prepared'):
        build(root, split='test', test_series=[])
    with pytest.raises(ConfigError, match='val: none .*val_evaluator=None'):
        build(root, split='val', val_series=[])
    store = CaseStore(root)
    record = store.records['1.2']
    record.nodules.clear()
    (root / 'cases' / '1.2.json').write_text(json.dumps(record.to_dict()))
    rebuild_index(root)
    with pytest.raises(ConfigError, match='the 1 scans have no nodule'):
        build(root, split='val')
    # a test scan without a nodule tells of false positives
    assert build(
        root, split='test', test_series=['1.2'], val_series=[]
    ).series_uids == ['1.2']


def test_folds_and_leaks(root: Path) -> None:
    parts = {
        s: build(root, split=s).series_uids for s in ('train', 'val', 'test')
    }
    assert parts == {'train': ['1.1'], 'val': ['1.2'], 'test': ['1.3']}
    named = build(root, test_series=['1.1'], val_series=[])
    assert named.series_uids == ['1.2', '1.3']
    with pytest.raises(ConfigError, match="series '7'"):
        build(root, test_series=['7'])
    with pytest.raises(ConfigError, match='validation and in test'):
        build(root, test_series=['1.1'], val_series=['1.1'])
    for uid, subset in (('2.1', 0), ('2.2', 9)):
        write_case(root, *make_record(uid, subset, patient='P7'))
    rebuild_index(root)
    with pytest.raises(ConfigError, match='patient P7'):
        build(root)


@pytest.mark.parametrize(
    ('series', 'message'),
    [
        ('1.2', r"""test_series: '1\.2' is not a list.*"\['1\.2'\]\""""),
        (1.2, 'test_series: 1.2 is not a list'),
        (['1.1', 1.2], 'test_series: 1.2 is not text.*in quotes'),
    ],
)
def test_scans_are_named_by_lists_of_text(
    root: Path, series: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(root, test_series=series, val_series=[])


def test_scans_of_the_subset_that_are_not_prepared_are_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = {'1.1': 0, '1.3': 9, '9.1': 9, '9.2': 9, '9.3': 8}
    monkeypatch.setattr(
        'lungdet.datasets.luna16_dataset.official_subsets', lambda: official
    )

    def listed(split: str, **options: object) -> int:
        return build(root, split=split, **options).metainfo['num_listed']

    assert listed('test') == 3  # one of them is prepared
    assert listed('val') == 1  # 1.2 is nobody's scan but ours
    assert listed('test', test_series=['1.3'], val_series=[]) == 1


def test_done_scans_are_skipped(root: Path, tmp_path: Path) -> None:
    done = tmp_path / 'scans'
    done.mkdir()
    (done / '1.3.json').write_text('{}')

    data = LUNA16Dataset(
        root,
        'test',
        skip_done=done,
        pipeline=[{'type': 'LoadCase'}, {'type': 'PackDetInputs'}],
    )

    assert len(data) == 0
    assert data.series_uids == ['1.3']
