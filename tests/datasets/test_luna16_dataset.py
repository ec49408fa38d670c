from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.datasets import LUNA16Dataset, luna16_dataset
from lungdet.engine import Key
from lungdet.errors import ConfigError
from lungdet.io.case_json import case_to_json
from lungdet.io.case_store import CaseStore, rebuild_index, record_file
from tests.datasets.stores import LUNGS_GRID, cubes_store, training_crops


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return cubes_store(tmp_path)


def test_split_without_scans_or_without_what_is_measured(root: Path) -> None:
    """Zero scans gave a CPM of 0, and a first checkpoint that stayed best."""
    with pytest.raises(ConfigError, match='test: none of the 3 prepared'):
        training_crops(root, split='test', test_series=[])
    with pytest.raises(ConfigError, match='val: none .*val_evaluator=None'):
        training_crops(root, split='val', val_series=[])
    record = replace(CaseStore(root).records['1.2'], nodules=[])
    record_file(root, '1.2').write_text(json.dumps(case_to_json(record)))
    rebuild_index(root)
    with pytest.raises(ConfigError, match='the 1 scans have no nodule'):
        training_crops(root, split='val')
    with pytest.raises(ConfigError, match='train: none of the 1 training'):
        training_crops(root, test_series=['1.1'], val_series=['1.3'])
    with pytest.raises(ConfigError, match='none of the 3 scans .* trained on'):
        training_crops(
            root,
            crops={'lung': 2},
            test_series=['1.1', '1.2', '1.3'],
            val_series=[],
        )
    # a test scan without a nodule tells of false positives
    data = training_crops(
        root, split='test', test_series=['1.2'], val_series=[]
    )
    assert data.series_uids == ['1.2']


def test_scans_of_the_subset_that_are_not_prepared_are_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = {'1.1': 0, '1.3': 9, '9.1': 9, '9.2': 9, '9.3': 8}
    monkeypatch.setattr(
        'lungdet.io.reference_set.official_subsets', lambda: official
    )

    def listed(split: str, **options: object) -> int:
        data = training_crops(root, split=split, **options)
        return data.metainfo['num_listed']

    assert listed('test') == 3  # one of them is prepared
    assert listed('val') == 1  # 1.2 is not a scan of LUNA16
    # all of LUNA16's and 1.2
    assert listed('test', test_subsets=(8, 9), val_subsets=()) == 5
    assert listed('test', test_series=['1.3'], val_series=[]) == 1


def test_the_largest_scan_is_known_without_reading(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert training_crops(root).largest_sample == 0
    data = training_crops(root, split='test', test_series=['1.1', '1.3'])
    record = data.store.records['1.3']
    larger = replace(
        record, geometry=replace(record.geometry, shape=(99, 99, 99))
    )
    monkeypatch.setitem(data.store.records, '1.3', larger)

    assert data.sources[data.largest_sample].series_uid == '1.3'


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


def test_background_crops_are_of_all_scans_and_mostly_in_lungs(
    balls: Path,
) -> None:
    data = training_crops(balls, background_ratio=8.0, lung_fraction=0.9)
    samples = [
        data.start_sample(index, epoch, index)
        for index in range(3, 27)
        for epoch in range(10)
    ]

    kinds = Counter(sample['kind'] for sample in samples)
    assert set(kinds) == {'lung', 'anywhere'}
    assert kinds['lung'] / len(samples) == pytest.approx(0.9, abs=0.06)
    # scans without a nodule too
    assert {s['record'].series_uid for s in samples} == {'1.1', '1.2'}


def test_background_crops_lie_where_they_should(lungs: Path) -> None:
    data = training_crops(
        lungs, size=(16, 16, 32), crops={'lung': 60, 'anywhere': 20}
    )
    in_lungs = []
    for index, kind in enumerate(data.kinds):
        sample = data[Key(index, 0, index)]['data_samples']
        (corner,) = LUNGS_GRID.to_index(np.asarray(sample.affine)[:3, 3][None])
        corner = np.rint(corner).astype(int)
        if kind == 'anywhere':
            assert (corner >= 0).all()
            assert (corner + (16, 16, 32) <= LUNGS_GRID.shape).all()
        else:
            uid = sample.sample_key.split()[0]
            mask = data.store.read(uid, 'lungs')
            in_lungs.append(mask[tuple(corner + (8, 8, 16))] > 0)
    # 20 tries miss lungs of a fifth of the case once in a hundred times
    assert len(in_lungs) == 60 and np.mean(in_lungs) > 0.9


def test_log_says_what_was_left_out(
    balls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        luna16_dataset, 'print_log', lambda text, **_: lines.append(text)
    )
    (tmp_path / '1.9.json').write_text('{}')
    training_crops(balls, background_ratio=1.0)
    LUNA16Dataset(
        balls, 'test', pipeline=[{'type': 'LoadCase'}], skip_done=tmp_path
    )
    train, test = lines
    assert 'train: kept 2 of 3 prepared scans (1 in test, 0 in val)' in train
    assert '1 without a nodule; 6 samples per epoch: 3 nodules, 3 ' in train
    assert 'test: kept 1 of 3' in test and '1 done already, 0 to do' in test
