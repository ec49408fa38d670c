from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lungdet.apis.scan_inputs import find_scans, list_scans
from tests.apis.test_scan_inputs import HU, names, series


def test_the_first_of_a_series_that_lies_at_two_places_is_taken(
    tmp_path: Path,
) -> None:
    tree = tmp_path / 'tree'
    series(tree / 'SUB', '1.1', '9', 1.0)
    series(tree / 'OTHER', '1.2', '8', 1.0)
    shutil.make_archive(str(tmp_path / 'd'), 'zip', tree, 'SUB')
    inputs = [tree, tree / 'SUB', tmp_path / 'd.zip']

    scans, left_out = find_scans(inputs, tmp_path / 'scratch')
    every, _ = list_scans(inputs, tmp_path / 'scratch')

    assert names(scans) == ['1.1', '1.2'] and not left_out
    assert scans[0].path == tree / 'SUB' and scans[0].defect is None
    assert scans[0].caveats == (
        'the series lies at 2 places among the inputs; took the first',
    )
    assert not scans[1].caveats
    assert names(every) == ['1.1', '1.1', '1.2']
    assert [scan.location for scan in every[:2]] == [
        str(tree / 'SUB'),
        str(tmp_path / 'd.zip'),
    ]


def test_the_caveat_stays_beside_that_of_thicker_series(
    tmp_path: Path,
) -> None:
    series(tmp_path / 'a', '1.1', '9', 1.0)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    series(tmp_path / 'a', '1.2', '9', 3.0)

    (scan,), _ = find_scans([tmp_path / 'a', tmp_path / 'b'], tmp_path / 's')

    assert scan.uid == '1.1' and len(scan.caveats) == 2


@pytest.mark.parametrize('moved', [1, len(HU) // 2])
def test_a_series_in_parts_fails_alone(tmp_path: Path, moved: int) -> None:
    """Halves have equal numbers of slices, and are no copies."""
    series(tmp_path / 'a', '1.1', '9', 1.0)
    series(tmp_path / 'c', '1.2', '8', 1.0)
    (tmp_path / 'b').mkdir()
    for path in sorted((tmp_path / 'a').iterdir())[:moved]:
        path.rename(tmp_path / 'b' / path.name)
    inputs = [tmp_path / name for name in 'abc']

    (parts, whole), _ = find_scans(inputs, tmp_path / 'scratch')

    assert parts.defect and 'not known to have the same slices' in parts.defect
    assert whole.defect is None


def test_the_mask_of_either_copy_is_used(tmp_path: Path) -> None:
    series(tmp_path / 'a', '1.1', '9', 1.0)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    for name in ('m.mha', 'n.mha'):
        (tmp_path / name).write_bytes(b'-')
    table = tmp_path / 'scans.csv'

    table.write_text('path,lung_mask\na,\nb,m.mha\n')
    (scan,), _ = find_scans([table], tmp_path / 'scratch')
    table.write_text('path,lung_mask\na,n.mha\nb,m.mha\n')
    (torn,), _ = find_scans([table], tmp_path / 'scratch')

    assert scan.path == tmp_path / 'a'
    assert scan.lung_mask == tmp_path / 'm.mha'
    assert torn.defect and 'with different lung masks' in torn.defect
