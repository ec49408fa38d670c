from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_inputs import find_scans
from lungdet.prepare.fingerprint import fingerprint
from tests.apis.remote_scans import STUDY, THIN, filled, folder, server
from tests.apis.test_scan_inputs import HU, series
from tests.dicom_series import write_frames, write_slice
from tests.dicomweb.fake_server import FakeServer

__all__ = ['filled', 'folder', 'server']


def test_a_series_on_a_server_is_there_while_it_is_read(
    filled: FakeServer, folder: Path, tmp_path: Path
) -> None:
    (scan,), _ = find_scans([filled.of(STUDY)], tmp_path)

    with scan.opened(tmp_path) as opened:
        there = {path.read_bytes() for path in opened.iterdir()}

    assert there == {p.read_bytes() for p in (folder / THIN).iterdir()}
    assert not opened.exists()
    assert scan.path is None and scan.location == filled.of(STUDY, THIN)


def test_fingerprints_change_with_what_is_there(
    filled: FakeServer, folder: Path, tmp_path: Path
) -> None:
    (remote,), _ = find_scans([filled.of(STUDY)], tmp_path)
    before = scan_of(folder, THIN).fingerprint()

    assert remote.fingerprint() != replace(remote, instances=9).fingerprint()
    assert remote.fingerprint() == replace(remote).fingerprint()
    next((folder / THIN).iterdir()).unlink()
    assert scan_of(folder, THIN).fingerprint() != before


def scan_of(folder: Path, uid: str = '1.1') -> ScanInput:
    scans, _ = find_scans([folder], folder / 'unused', series=[uid])
    return scans[0]


def in_one_folder(folder: Path) -> None:
    series(folder, '1.1', '9', 2.0)


def in_two_folders(folder: Path) -> None:
    in_one_folder(folder)
    (folder / 'half').mkdir()
    for path in sorted(folder.glob('*.dcm'))[::2]:
        path.rename(folder / 'half' / path.name)


def in_one_file(folder: Path) -> None:
    in_one_folder(folder)
    slices = sorted(folder.iterdir())
    write_frames(folder / '1.1.dcm', slices)
    for path in slices:
        path.unlink()


@pytest.mark.parametrize('write', [in_one_folder, in_two_folders, in_one_file])
def test_only_its_slices_tell_whether_a_series_has_changed(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """Its folder gets another series, litter and results."""
    folder = tmp_path / 'in'
    folder.mkdir()
    write(folder)
    before = scan_of(folder).fingerprint()
    # so results of earlier versions stay valid
    assert before == fingerprint(folder)

    series(folder, '1.0', '9', 1.0)
    (folder / '.DS_Store').write_bytes(b'Bud1')
    (folder / 'results').mkdir()
    (folder / 'results' / 'marks.csv').write_text('-')

    assert scan_of(folder).fingerprint() == before
    assert scan_of(folder, '1.0').fingerprint() != before


@pytest.mark.parametrize(
    'change', ['changed', 'swapped', 'added', 'removed', 'damaged']
)
def test_a_slice_that_changes_is_another_scan(
    tmp_path: Path, change: str
) -> None:
    folder = tmp_path / 'in'
    in_one_folder(folder)
    series(folder, '1.0', '9', 1.0)
    before = scan_of(folder).fingerprint()

    first, last = folder / '1.1-0.dcm', folder / '1.1-25.dcm'
    contents = first.read_bytes(), last.read_bytes()
    if change == 'changed':
        first.write_bytes(contents[0][:-2] + b'!!')
    elif change == 'swapped':
        first.write_bytes(contents[1])
        last.write_bytes(contents[0])
    elif change == 'added':
        write_slice(folder, 26, HU[0], series='1.1', name='more.dcm')
    elif change == 'removed':
        last.unlink()
    else:  # a defect of the series, whose slices are not all known
        data = dcmread(first)
        del data.ImagePositionPatient
        data.save_as(first)

    assert scan_of(folder).fingerprint() != before
