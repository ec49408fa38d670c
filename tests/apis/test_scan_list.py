from __future__ import annotations

import json
from pathlib import Path

import pytest

from lungdet.apis.scan_list import ScanList, largest_lists, read_scan_lists
from lungdet.errors import SeriesError
from tests.schemas import assert_valid


def test_parts_write_one_file_and_other_runs_another(tmp_path: Path) -> None:
    ScanList(('a', 'b'), 2).write(tmp_path)
    ScanList(('a', 'b'), 2).write(tmp_path)
    ScanList(('=c',)).write(tmp_path)

    files = sorted(tmp_path.iterdir())

    assert len(files) == 2
    for path in files:
        assert_valid('scan_list', json.loads(path.read_text()))
    lists = read_scan_lists(tmp_path)
    assert {*lists} == {ScanList(('a', 'b'), 2), ScanList(('=c',))}


def test_every_part_has_every_nth_scan() -> None:
    """As lungdet infer gives them out."""
    scans = tuple('abcdefg')

    texts = ScanList(scans, 3).missing([*scans[0::3], 'e'])

    assert texts == [
        'part 1 of 3: no result of 1 of 2 scans (b)',
        'part 2 of 3: no result of 2 of 2 scans (c, f)',
    ]
    assert ScanList(scans).missing('') == [
        'no result of 7 of 7 scans (a, b, c, d, e and 2 more)'
    ]
    assert ScanList(scans, 3).missing(scans) == []


def test_a_run_with_more_scans_replaces_the_ones_before() -> None:
    early, late = ScanList(('a', 'b')), ScanList(('a', 'b', 'c'))
    other, parts = ScanList(('x',)), ScanList(('a', 'b', 'c'), 4)

    assert largest_lists([early, late, other, other]) == [late, other]
    assert largest_lists([late, parts]) == [parts]


def test_a_list_with_longer_names_replaces_the_one_before() -> None:
    early, dated = ScanList(('a', 'ct')), ScanList(('a', 'ct-20240101'))
    late = ScanList(('a', 'ct-1a2b3c4d', 'ct-2b3c4d5e'))

    assert largest_lists([early, late]) == [late]
    assert largest_lists([early, dated]) == [early, dated]


@pytest.mark.parametrize(
    'content', ['', '{}', '{"schema": "lungdet.scan_list/0"}', '[]']
)
def test_a_damaged_list_names_its_file(tmp_path: Path, content: str) -> None:
    (tmp_path / 'scans-1.json').write_text(content)

    with pytest.raises(SeriesError, match=r'scans-1.json.*lungdet infer'):
        read_scan_lists(tmp_path)


def test_absurd_numbers_of_parts_take_no_time(tmp_path: Path) -> None:
    huge = ScanList(('a', 'b'), 10**18)
    assert huge.missing({'a'}) == [
        f'part 1 of {10**18}: no result of 1 of 1 scan (b)'
    ]
    ScanList(('a',), 0).write(tmp_path)

    with pytest.raises(SeriesError, match=r'scans-.*\.json: .*0 parts'):
        read_scan_lists(tmp_path)
