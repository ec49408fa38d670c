from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.datasets import ConcatCases, LUNA16Dataset
from lungdet.engine import Key
from lungdet.errors import ConfigError
from lungdet.io.case_store import rebuild_index
from tests.datasets.stores import write_cubes

PIPELINE = [
    {'type': 'PlaceCrop', 'size': (16, 16, 16), 'margin': 2},
    {'type': 'LoadCrop'},
    {'type': 'PackDetInputs'},
]


def store(root: Path, *scans: tuple[str, int, str]) -> Path:
    for uid, subset, patient in scans:
        write_cubes(root, uid, subset, patient)
    rebuild_index(root)
    return root


@pytest.fixture(scope='module')
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp('stores')
    real = store(folder / 'real', ('1.1', 0, 'A'), ('1.9', 9, 'B'))
    phantoms = store(folder / 'phantoms', ('7.1', 0, 'P'), ('7.2', 9, 'Q'))
    return real, phantoms


def both(roots: tuple[Path, Path], **options: object) -> ConcatCases:
    real, phantoms = roots
    of_phantoms = {
        'type': 'LUNA16Dataset',
        'data_root': str(phantoms),
        'test_subsets': (),
        'val_subsets': (),
        'crops': {'nodule': 2, 'lung': 1},
    }
    return ConcatCases(
        [
            {'type': 'LUNA16Dataset', 'crops': {'nodule': 3, 'anywhere': 2}},
            {**of_phantoms, **options},
        ],
        pipeline=PIPELINE,
        data_root=real,
        test_series=['1.9'],
        val_series=[],
        seed=5,
    )


def test_samples_are_those_of_the_parts(roots: tuple[Path, Path]) -> None:
    data = both(roots)
    real, phantoms = (
        LUNA16Dataset(
            root,
            'train',
            pipeline=PIPELINE,
            crops=crops,
            test_subsets=subsets,
            val_subsets=(),
            seed=5,
        )
        for root, crops, subsets in (
            (roots[0], {'nodule': 3, 'anywhere': 2}, (9,)),
            (roots[1], {'nodule': 2, 'lung': 1}, ()),
        )
    )

    assert len(data) == 8
    assert data.kinds == [
        *['0 nodule'] * 3,
        *['0 anywhere'] * 2,
        *['1 nodule'] * 2,
        '1 lung',
    ]
    for index in range(8):
        sample = data[Key(index, 2, 7 - index)]
        dataset, first = (real, 0) if index < 5 else (phantoms, 5)
        same = dataset[Key(index - first, 2, 7 - index)]
        assert (
            sample['data_samples'].sample_key
            == same['data_samples'].sample_key
        )
        assert (sample['inputs'] == same['inputs']).all()


def test_metainfo_is_that_of_all_parts(roots: tuple[Path, Path]) -> None:
    data = both(roots)

    assert data.metainfo == {
        'data_root': [str(root) for root in roots],
        'split': 'train',
        'series_uids': ['1.1', '7.1', '7.2'],
        'patients': ['A', 'P', 'Q'],
        'test_series': ['1.9'],
        'test_patients': ['B'],
        'spacing_mm': 1.0,
    }


@pytest.mark.parametrize(
    ('scan', 'name'),
    [(('1.9', 0, 'X'), '1.9'), (('7.9', 0, 'B'), 'B')],
    ids=['scan', 'patient'],
)
def test_held_out_in_one_and_trained_on_in_the_other_is_refused(
    roots: tuple[Path, Path],
    tmp_path: Path,
    scan: tuple[str, int, str],
    name: str,
) -> None:
    other = store(tmp_path, scan)

    with pytest.raises(
        ConfigError, match=f'datasets: {name} is in test .*trained on'
    ):
        both(roots, data_root=str(other))
    data = both(
        roots,
        data_root=str(store(tmp_path, ('7.8', 0, 'R'))),
        test_series=[scan[0]],
    )
    assert scan[0] not in data.metainfo['series_uids']


@pytest.mark.parametrize(
    ('scan', 'name'),
    [(('1.1', 8, 'X'), '1.1'), (('7.9', 8, 'A'), 'A')],
    ids=['scan', 'patient'],
)
def test_validated_in_one_and_trained_on_in_the_other_is_refused(
    roots: tuple[Path, Path],
    tmp_path: Path,
    scan: tuple[str, int, str],
    name: str,
) -> None:
    other = store(tmp_path, scan, ('7.8', 0, 'R'))

    with pytest.raises(
        ConfigError, match=f'datasets: {name} is in val of .*trained on'
    ):
        both(roots, data_root=str(other), val_subsets=(8,))


@pytest.mark.parametrize(
    ('scan', 'name'),
    [(('1.1', 0, 'X'), '1.1'), (('9.9', 0, 'P'), 'P')],
    ids=['scan', 'patient'],
)
def test_cases_that_are_tested_elsewhere_are_not_trained_on(
    roots: tuple[Path, Path],
    tmp_path: Path,
    scan: tuple[str, int, str],
    name: str,
) -> None:
    parts = [
        {'type': 'LUNA16Dataset', 'crops': {'lung': 1}},
        {
            'type': 'LUNA16Dataset',
            'data_root': str(roots[1]),
            'crops': {'lung': 1},
        },
    ]
    tested = store(tmp_path, scan)

    with pytest.raises(
        ConfigError, match=f'{name} is in {tested}, held_out_roots and trained'
    ):
        ConcatCases(
            parts,
            pipeline=PIPELINE,
            data_root=roots[0],
            held_out_roots=[tested],
        )
    other = store(tmp_path / 'other', ('8.1', 0, 'Z'))
    data = ConcatCases(
        parts, pipeline=PIPELINE, data_root=roots[0], held_out_roots=[other]
    )
    for dataset in data.datasets:  # which then insert none of its nodules
        assert {'8.1', 'Z'} <= dataset.held_out


def test_no_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match='datasets: none is given'):
        ConcatCases([], pipeline=PIPELINE)


def test_folds_are_those_given(roots: tuple[Path, Path]) -> None:
    parts = [{'type': 'LUNA16Dataset', 'crops': {'lung': 1}}]

    data = ConcatCases(
        parts,
        pipeline=PIPELINE,
        data_root=roots[0],
        test_subsets=(0,),
        val_subsets=(),
    )

    assert data.metainfo['series_uids'] == ['1.9']
    assert data.metainfo['test_series'] == ['1.1']


def test_only_training_is_of_several_folders(
    roots: tuple[Path, Path],
) -> None:
    parts = [
        {'type': 'LUNA16Dataset', 'data_root': str(root)} for root in roots
    ]
    with pytest.raises(ConfigError, match="split 'val'; it is for training"):
        ConcatCases(parts, 'val', pipeline=PIPELINE)


def test_all_scans_of_a_pretraining_are_said_to_be_all(
    roots: tuple[Path, Path],
) -> None:
    def folds(*values: str) -> str:
        parts = [
            {
                'type': 'LungCropDataset',
                'data_root': str(root),
                'folds': value,
                'window': (-1000, 400),
            }
            for root, value in zip(roots, values)
        ]
        return ConcatCases(parts).metainfo['folds']

    assert folds('train', 'train') == 'train'
    with pytest.warns(UserWarning, match="folds='all'"):
        assert folds('train', 'all') == 'all'
