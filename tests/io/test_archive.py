from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lungdet.errors import SeriesError
from lungdet.io import archive
from lungdet.io.archive import extract_zip, is_zip

LINK = (stat.S_IFLNK | 0o777) << 16
PIPE = (stat.S_IFIFO | 0o600) << 16


def pack(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name.replace('__', '/'), content)
    return path


def unpacked(path: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    extract_zip(path, folder)
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob('*')
        if file.is_file()
    }


def test_files_come_out_as_they_were_packed(tmp_path: Path) -> None:
    files = {'a.mhd': b'header', 'b__c d.raw': b'x' * 9}
    path = pack(tmp_path / 'ä.zip', **files)
    with zipfile.ZipFile(path, 'a') as packed:
        packed.writestr('./', b'')  # as some tools pack a folder
        packed.writestr('empty/', b'')
        packed.writestr('__MACOSX/._a.mhd', b'litter')

    assert is_zip(path) and not is_zip(tmp_path / 'a.mha')
    there = unpacked(path, tmp_path / 'out')

    assert there == {'a.mhd': b'header', 'b/c d.raw': b'x' * 9}


def test_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(shutil, 'copyfileobj', full)
    path = pack(tmp_path / 'a.zip', a=b'a')

    with pytest.raises(OSError, match='No space left') as caught:
        extract_zip(path, tmp_path / 'out')

    assert caught.value.filename == str(tmp_path / 'out')


@pytest.mark.skipif(os.name != 'posix', reason='of names on disk')
def test_a_name_that_the_disk_refuses_is_not_quoted(tmp_path: Path) -> None:
    path = pack(tmp_path / 'a.zip', **{f'{"DOE" * 99}.dcm': b'a'})

    with pytest.raises(SeriesError, match='member 1 of 1 cannot be') as caught:
        unpacked(path, tmp_path / 'out')

    assert 'DOE' not in str(caught.value)


def named(name: str, attributes: int = 0) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        member = zipfile.ZipInfo(name)
        member.external_attr = attributes
        with zipfile.ZipFile(path, 'w') as packed:
            packed.writestr('good.mha', b'good')
            packed.writestr(member, b'/etc/passwd')

    return write


def bomb(path: Path) -> None:
    pack(path, **{'a.dcm': bytes(3_000_000)})


def bzip2(path: Path) -> None:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_BZIP2) as packed:
        packed.writestr('a.dcm', bytes(100))


def cut(path: Path) -> None:
    pack(path, **{'a.dcm': b'content' * 99})
    path.write_bytes(path.read_bytes()[:-30])


def flipped(path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as packed:
        packed.writestr('a.dcm', b'content' * 9)
    content = bytearray(path.read_bytes())
    content[content.find(b'content') + 3] ^= 1
    path.write_bytes(content)


def encrypted(path: Path) -> None:
    pack(path, **{'a.dcm': b'content'})
    content = bytearray(path.read_bytes())
    at = content.find(b'PK\x01\x02') + 8
    content[at : at + 2] = struct.pack('<H', 1)
    path.write_bytes(content)


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as packed:
        packed.writestr('a.dcm', b'one')
        with pytest.warns(UserWarning, match='Duplicate'):
            packed.writestr('a.dcm', b'two')


def file_and_folder(path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as packed:
        packed.writestr('a', b'one')
        packed.writestr('a/b.dcm', b'two')


@pytest.mark.parametrize(
    ('write', 'reason'),
    [
        (named('.'), 'leaves the folder'),
        (named('../x'), 'member 2 of 2 leaves the folder'),
        (named('a/../../x'), 'leaves the folder'),
        (named('/etc/x'), 'leaves the folder'),
        (named('C:/x'), 'leaves the folder'),
        (named('..\\x'), 'leaves the folder'),
        (named('x' * 2000), 'leaves the folder'),
        (named('link', LINK), 'member 2 of 2 is a link or a device'),
        (named('pipe', PIPE), 'is a link or a device'),
        (bomb, 'claim to unpack to 3000000'),
        (bzip2, 'packed by method 12'),
        (cut, 'not a zip archive that can be read'),
        (flipped, 'member 1 of 1 is damaged'),
        (encrypted, 'member 1 of 1 is encrypted'),
        (twice, 'occurs twice'),
        (file_and_folder, 'both a file and a folder'),
        (lambda path: path.write_bytes(b''), 'not a zip archive'),
    ],
)
def test_hostile_archives_write_nothing_outside(
    tmp_path: Path, write: Callable[[Path], None], reason: str
) -> None:
    path, folder = tmp_path / 'a.zip', tmp_path / 'deep' / 'out'
    write(path)
    folder.mkdir(parents=True)

    with pytest.raises(SeriesError, match=reason) as caught:
        extract_zip(path, folder)

    assert str(path) in str(caught.value)
    assert not any(file.is_symlink() for file in folder.rglob('*'))
    outside = {file.name for file in tmp_path.iterdir()}
    assert outside == {'a.zip', 'deep'}
    assert [file.name for file in (tmp_path / 'deep').iterdir()] == ['out']


def test_a_stated_size_that_is_too_small_is_the_most_that_is_written(
    tmp_path: Path,
) -> None:
    path, folder = pack(tmp_path / 'a.zip', a=b'x' * 90_000), tmp_path / 'out'
    content = path.read_bytes()
    path.write_bytes(
        content.replace(struct.pack('<I', 90_000), struct.pack('<I', 9))
    )
    folder.mkdir()

    with pytest.raises(SeriesError, match='member 1 of 1 is damaged'):
        extract_zip(path, folder)

    assert (folder / 'a').stat().st_size <= 9


def test_more_members_than_a_scan_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, 'MAX_FILES', 2)
    path = pack(tmp_path / 'a.zip', a=b'', b=b'', c=b'')

    with pytest.raises(SeriesError, match='3 members .limit 2'):
        extract_zip(path, tmp_path)
