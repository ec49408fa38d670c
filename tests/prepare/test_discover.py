from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lungdet.errors import SeriesError
from lungdet.prepare import prepare_folder
from lungdet.prepare.discover import ScanSource, discover_scans
from lungdet.prepare.fingerprint import fingerprint
from tests.prepare.scans import write_folder, write_scan


def test_slices_without_suffix_are_a_series(tmp_path: Path) -> None:
    (tmp_path / 'subset4' / 'one').mkdir(parents=True)
    (tmp_path / 'subset4' / 'one' / 'IM0001').write_bytes(bytes(128) + b'DICM')
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'notes' / 'readme').write_text('no image')

    folder = (tmp_path / 'subset4' / 'one').resolve()
    assert discover_scans(tmp_path) == [ScanSource('one', folder, 4)]


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    root, disk = tmp_path / 'root', tmp_path / 'disk'
    write_scan(disk / 'deep' / 'a.mhd')
    (disk / 'deep' / 'back').symlink_to(disk)  # without end
    (disk / 'seg-lungs-LUNA16').mkdir()
    shutil.copy(disk / 'deep' / 'a.mhd', disk / 'seg-lungs-LUNA16')
    write_scan(root / 'subset2' / 'b.mhd')
    write_folder(disk / 'slices', '1.2.3')
    (root / 'last').symlink_to(root / 'subset2')  # which states the subset
    (root / 'subset1').symlink_to(disk)
    (root / 'gone').symlink_to(tmp_path / 'nothing')
    (root / 'itself').symlink_to(root / 'itself')

    sources = discover_scans(root, skip=disk / 'none')

    assert [(scan.uid, scan.subset) for scan in sources] == [
        ('1.2.3', 1),
        ('a', 1),
        ('b', 2),
    ]
    assert sources[1].path == root.resolve() / 'subset1' / 'deep' / 'a.mhd'
    assert not prepare_folder(root, tmp_path / 'out', progress=False).failed


def test_a_scan_may_have_a_name_that_begins_like_masks(tmp_path: Path) -> None:
    for name in ('masks.nii.gz', 'masks/b.mha', 'seg-lungs-LUNA16/c.mha'):
        write_scan(tmp_path / name)
    for name in ('masks_of_smith.mha', 'seg-lungs2/d.mha'):
        write_scan(tmp_path / name)

    uids = [source.uid for source in discover_scans(tmp_path)]

    assert uids == ['d', 'masks_of_smith']


def test_series_that_lies_there_twice_is_refused(tmp_path: Path) -> None:
    for patient in ('files/1', 'files/2'):
        write_scan(tmp_path / patient / 'ct.nii.gz')
    for patient in ('slices/1', 'slices/2'):
        write_folder(tmp_path / patient, '1.2.3')

    with pytest.raises(SeriesError, match='ct is also at .* so rename one'):
        discover_scans(tmp_path / 'files')
    with pytest.raises(SeriesError, match='1.2.3 is also at .*; keep one'):
        discover_scans(tmp_path / 'slices')


@pytest.mark.parametrize('suffix', ['.xml', '.txt', '.CSV', '.json', '.raw'])
def test_slices_behind_other_files_are_a_series(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / 'one').mkdir()
    for k in range(4):
        (tmp_path / 'one' / f'0{k}{suffix}').write_text('no slice')
    (tmp_path / 'one' / 'IM0001').write_bytes(bytes(128) + b'DICM')

    assert [scan.uid for scan in discover_scans(tmp_path)] == ['one']


def test_slices_behind_files_without_a_suffix_are_a_series(
    tmp_path: Path,
) -> None:
    (tmp_path / 'one').mkdir()
    for name in ('CHECKSUMS', 'LICENSE', 'MANIFEST', 'README'):
        (tmp_path / 'one' / name).write_text('no slice')
    for k in range(12):
        path = tmp_path / 'one' / f'slice{k:03}'
        path.write_bytes(bytes(128) + b'DICM')

    assert [scan.uid for scan in discover_scans(tmp_path)] == ['one']


def test_a_bad_folder_stops_no_other_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be listed, and one with a file that holds no header."""
    write_scan(tmp_path / 'scans' / 'a.mhd')
    for name in ('closed', 'damaged'):
        (tmp_path / 'scans' / name).mkdir()
        path = tmp_path / 'scans' / name / '1.dcm'
        path.write_bytes(bytes(128) + b'DICM' + bytes([255]) * 300)

    def refuse(folder: Path) -> object:
        if folder.name == 'closed':
            raise PermissionError(13, 'Permission denied', str(folder))
        return genuine(folder)

    genuine = Path.iterdir
    monkeypatch.setattr(Path, 'iterdir', refuse)

    summary = prepare_folder(
        tmp_path / 'scans', tmp_path / 'out', progress=False
    )

    assert [record.series_uid for record in summary.records] == ['a']
    assert set(summary.failed) == {'closed', 'damaged'}
    assert '1.dcm' in summary.failed['damaged']


def test_what_cannot_be_read_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, and slices that a reader fails on unexpectedly."""
    write_scan(tmp_path / 'scans' / 'a.mhd')
    write_scan(tmp_path / 'scans' / 'closed' / 'b.mhd')
    write_folder(tmp_path / 'scans' / 'deep', '1.2.3')
    real = Path.iterdir

    def refuse(folder: Path) -> object:
        if folder.name == 'closed':
            raise PermissionError(13, 'Permission denied', str(folder))
        return real(folder)

    def fail(*_: object, **__: object) -> None:
        raise RecursionError('500 sequences in each other')

    monkeypatch.setattr(Path, 'iterdir', refuse)
    monkeypatch.setattr('lungdet.prepare.discover.list_series', fail)
    monkeypatch.setattr('lungdet.prepare.scan.load_volume', loaded_or(fail))

    summary = prepare_folder(
        tmp_path / 'scans', tmp_path / 'out', progress=False
    )

    assert [record.series_uid for record in summary.records] == ['a']
    assert set(summary.failed) == {'closed', 'deep'}
    assert 'RecursionError: 500 sequences' in summary.failed['deep']


def loaded_or(fail: object) -> object:
    from lungdet.io.image import load_volume

    def load(path: Path, **options: object) -> object:
        return (load_volume if path.is_file() else fail)(path, **options)

    return load


def test_a_pipe_is_no_scan(tmp_path: Path) -> None:
    write_scan(tmp_path / 'scans' / 'a.mhd')
    os.mkfifo(tmp_path / 'scans' / 'b.mhd')
    os.mkfifo(tmp_path / 'scans' / 'slice')

    sources = discover_scans(tmp_path / 'scans')

    assert [source.uid for source in sources] == ['a', 'b']
    with pytest.raises(OSError, match='Not a file'):
        fingerprint(sources[1].path)
