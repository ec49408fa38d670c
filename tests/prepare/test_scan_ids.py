from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lungdet.errors import AnnotationError
from lungdet.io.reference_set import official_subsets
from lungdet.prepare import prepare_luna16
from lungdet.prepare.discover import ScanSource
from lungdet.prepare.scan_ids import (
    check_series,
    known_series,
    listed_series,
)

LUNA = next(iter(official_subsets()))


def sources(*uids: str) -> list[ScanSource]:
    return [ScanSource(uid, Path(uid)) for uid in uids]


def test_series_of_luna16_the_tables_and_the_list_are_known(
    tmp_path: Path,
) -> None:
    assert {LUNA, 'a'} <= known_series([['a']])
    assert listed_series(tmp_path) == {}
    (tmp_path / 'seriesuids.csv').write_text('b\n')

    listed = listed_series(tmp_path)
    known = known_series([['a'], *listed.values()])

    assert {LUNA, 'a', 'b'} <= known
    assert check_series(sources(LUNA, 'a', 'b'), known, {}, tmp_path) == []


def test_scans_that_nothing_names_are_named(tmp_path: Path) -> None:
    (caveat,) = check_series(sources('a', 'b', '0'), 'ab', {}, tmp_path)

    assert caveat.startswith('1 of 3 scans are in no table')
    assert 'such as 0' in caveat
    with pytest.raises(AnnotationError, match='2 of 3 scans .* such as 0, 1'):
        check_series(sources('a', '0', '1'), 'a', {}, tmp_path)


def test_rows_of_scans_that_are_not_there_are_counted(tmp_path: Path) -> None:
    tables = {'annotations.csv': ['a', 'x', 'y', LUNA]}

    (caveat,) = check_series(sources('a'), 'axy', tables, tmp_path)

    assert 'annotations.csv names 2 scans that are not there' in caveat
    assert caveat.endswith('such as x, y')


def test_a_list_of_other_scans_is_told_in_both_directions(
    tmp_path: Path,
) -> None:
    lists = {'annotations.csv': ['a'], 'seriesuids.csv': ['x', 'y']}

    caveats = check_series(sources('a'), {'a', 'x', 'y'}, lists, tmp_path)

    assert caveats == [
        f'1 of 1 scans are not in {tmp_path}/seriesuids.csv, such as a',
        f'{tmp_path}/seriesuids.csv names 2 scans that are not there, such '
        'as x, y',
    ]


def test_a_renamed_scan_of_luna16_is_refused(
    test_data: Path, tmp_path: Path
) -> None:
    mini = test_data / 'luna16-mini'
    (scan,) = (mini / 'subset9').glob('*.mhd')
    (tmp_path / 'subset9').mkdir()
    shutil.copy(scan.with_suffix('.zraw'), tmp_path / 'subset9')
    shutil.copy(scan, tmp_path / 'subset9' / '000.mhd')
    for table in mini.glob('*.csv'):
        shutil.copy(table, tmp_path)

    with pytest.raises(AnnotationError, match='1 of 1 scans .* such as 000'):
        prepare_luna16(tmp_path, tmp_path / 'out', progress=False)
