from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.errors import ConfigError
from lungdet.io.case_store import rebuild_index
from tests.datasets.stores import cubes_store, training_crops, write_cubes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return cubes_store(tmp_path)


def test_subsets_or_names_choose_the_parts(root: Path) -> None:
    parts = {
        split: training_crops(root, split=split).series_uids
        for split in ('train', 'val', 'test')
    }
    named = training_crops(root, test_series=['1.1'], val_series=[])

    assert parts == {'train': ['1.1'], 'val': ['1.2'], 'test': ['1.3']}
    assert named.series_uids == ['1.2', '1.3']


def test_scans_and_patients_stay_on_one_side(root: Path) -> None:
    with pytest.raises(ConfigError, match="series '7'"):
        training_crops(root, test_series=['7'])
    with pytest.raises(ConfigError, match='validation and in test'):
        training_crops(root, test_series=['1.1'], val_series=['1.1'])
    for uid, subset in (('2.1', 0), ('2.2', 9)):
        write_cubes(root, uid, subset, patient='P7')
    rebuild_index(root)
    with pytest.raises(ConfigError, match='patient P7'):
        training_crops(root)


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
        training_crops(root, test_series=series, val_series=[])


@pytest.mark.parametrize(
    ('subsets', 'absent'), [((7,), '7'), ((4, 12), '4, 12')], ids=str
)
def test_subsets_of_the_test_without_scans_are_refused(
    root: Path, subsets: tuple[int, ...], absent: str
) -> None:
    message = f'no prepared scan is of subset {absent}; .* subsets 0, 8, 9'

    with pytest.raises(ConfigError, match=f'test_subsets: {message}'):
        training_crops(root, test_subsets=subsets)
    # series replace subsets
    named = training_crops(root, test_subsets=subsets, test_series=['1.3'])
    assert named.series_uids == ['1.1']
    # a part of LUNA16 may lack some
    partly = training_crops(root, test_subsets=(*subsets, 9))
    assert partly.series_uids == ['1.1']


def test_store_without_subsets_needs_a_named_test(tmp_path: Path) -> None:
    write_cubes(tmp_path, '1.1', None)
    rebuild_index(tmp_path)

    with pytest.raises(ConfigError, match='there are the subsets none'):
        training_crops(tmp_path)
    every = training_crops(tmp_path, test_subsets=())
    assert every.series_uids == ['1.1']
