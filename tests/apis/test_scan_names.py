from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lungdet.apis.private_names import digest
from lungdet.apis.scan_inputs import find_scans, list_scans
from lungdet.errors import LungdetError
from tests.dicom_series import write_series

DIGESTED = re.compile(r'ct-[0-9a-f]{8}')
SMITH, MILLER = 'SMITH_JOHN', 'MILLER_ANNA'


def tree_of(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / 'ct.mha').write_bytes(folder.encode())
    return root


def names_by_folder(*inputs: Path, **options: bool) -> dict[str, str]:
    scans, _ = list_scans(inputs, Path('unused'), **options)
    return {scan.path.parent.name: scan.uid for scan in scans}


def test_scans_of_one_file_name_are_named_by_a_digest(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / 'tree', SMITH, MILLER)

    named = names_by_folder(tree)

    assert all(map(DIGESTED.fullmatch, named.values()))
    assert len(set(named.values())) == 2


def test_with_personal_data_they_are_named_after_their_folders(
    tmp_path: Path,
) -> None:
    tree = tree_of(tmp_path / 'tree', SMITH, MILLER)

    named = names_by_folder(tree, keep_phi=True)

    assert named == {
        SMITH: f'tree_{SMITH}_ct',
        MILLER: f'tree_{MILLER}_ct',
    }


def test_names_do_not_depend_on_where_or_how_the_files_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_of(tmp_path / 'tree', SMITH, MILLER)
    moved = tmp_path / 'elsewhere' / 'copy'
    shutil.copytree(tree, moved)
    files = [tree / SMITH / 'ct.mha', tree / MILLER / 'ct.mha']
    (tmp_path / 'scans.csv').write_text(
        f'path\ntree/{SMITH}/ct.mha\ntree/{MILLER}/ct.mha\n'
    )
    named = names_by_folder(tree)

    assert names_by_folder(moved) == named
    assert names_by_folder(*files) == named
    assert names_by_folder(*reversed(files)) == named
    assert names_by_folder(tmp_path / 'scans.csv') == named
    monkeypatch.chdir(tree)
    assert names_by_folder(Path('.')) == named


def test_one_more_scan_leaves_the_names_of_the_others(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / 'tree', SMITH, MILLER)
    before = names_by_folder(tree)

    tree_of(tree, 'DOE')

    assert names_by_folder(tree).items() > before.items()


def test_names_are_distinct_however_deep_the_folders_are_equal(
    tmp_path: Path,
) -> None:
    """Trees of one layout, and a difference far above the files."""
    a = tree_of(tmp_path / 'a' / 'same', 'x/1/2/3', 'y/1/2/3')
    b = tree_of(tmp_path / 'b' / 'same', 'x/1/2/3', 'y/1/2/3')

    scans, _ = list_scans([a, b], tmp_path)

    assert len({scan.uid for scan in scans}) == 4
    assert all(DIGESTED.fullmatch(scan.uid) for scan in scans)


def test_members_of_archives_are_distinguished(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / 'tree', SMITH, MILLER)
    shutil.make_archive(str(tmp_path / 'in' / 'd'), 'zip', tree)

    scans, _ = list_scans([tmp_path / 'in' / 'd.zip'], tmp_path / 'scratch')

    assert len({scan.uid for scan in scans}) == 2
    assert all(DIGESTED.fullmatch(scan.uid) for scan in scans)


def series(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_series(folder, np.full((26, 16, 24), -800.0), series='1.1')


def missing_line(root: Path) -> list[Path]:
    (root / 'scans.csv').write_text(f'path\n\n{SMITH}/nope.mha\n')
    return [root / 'scans.csv']


def line_without_its_series(root: Path) -> list[Path]:
    series(root / SMITH)
    (root / 'scans.csv').write_text(f'path,seriesuid\n{SMITH},1.7\n')
    return [root / 'scans.csv']


def list_without_a_header(root: Path) -> list[Path]:
    (root / 'scans.csv').write_text(f'{SMITH}/ct.mha\n')
    return [root / 'scans.csv']


def missing_series_beside_a_broken_folder(root: Path) -> list[Path]:
    series(root / 'tree' / SMITH)
    first = min((root / 'tree' / SMITH).iterdir())
    first.write_bytes(first.read_bytes()[:200])
    return [root / 'tree']


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (missing_line, r'scans.csv:3: its path is not there; correct'),
        (line_without_its_series, r'scans.csv:2: no scan 1.7 at its path; '),
        (list_without_a_header, r'scans.csv: its first line is no header'),
        (
            missing_series_beside_a_broken_folder,
            r'tree: no series 1.9 there .*; folder-[0-9a-f]{8}/',
        ),
    ],
)
def test_messages_name_folders_only_with_personal_data(
    tmp_path: Path, write: Callable[[Path], list[Path]], message: str
) -> None:
    inputs = write(tmp_path)

    with pytest.raises((LungdetError, OSError), match=message) as hidden:
        find_scans(inputs, tmp_path / 'scratch', series=['1.9'])

    assert SMITH not in str(hidden.value) and MILLER not in str(hidden.value)
    if write is not list_without_a_header:
        with pytest.raises((LungdetError, OSError), match=SMITH):
            find_scans(
                inputs, tmp_path / 'scratch', series=['1.9'], keep_phi=True
            )


def test_a_broken_folder_in_an_archive_is_named_alike_in_every_run(
    tmp_path: Path,
) -> None:
    missing_series_beside_a_broken_folder(tmp_path)
    shutil.make_archive(str(tmp_path / 'd'), 'zip', tmp_path / 'tree')
    inputs, scratch = [tmp_path / 'd.zip'], tmp_path / 'scratch'

    (first,), _ = find_scans(inputs, scratch)
    (again,), _ = find_scans(inputs, scratch)

    (kept,), _ = find_scans(inputs, scratch, keep_phi=True)

    assert first == again
    assert first.defect.startswith(f'folder-{digest(SMITH)}/')
    assert kept.defect.startswith(f'{tmp_path / "d.zip" / SMITH}')


def test_a_series_keeps_its_uid_beside_a_file_that_is_named_like_it(
    tmp_path: Path,
) -> None:
    series(tmp_path / 'in' / 'dicom')
    (tmp_path / 'in' / '1.1.mha').write_bytes(b'-')

    first, second = list_scans([tmp_path / 'in'], tmp_path / 'scratch')[0]

    assert first.uid == first.series_uid == '1.1'
    assert second.uid == f'1.1-{digest("1.1.mha")}'
