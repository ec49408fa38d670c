from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from lungdet.io.atomic import atomic_path, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'a.nii.gz'
    write_text(path, 'old')

    with atomic_path(path) as aside:
        assert aside.parent == path.parent
        assert aside.name.endswith('.nii.gz')  # writers go by the suffix
        aside.write_text('new')
        assert path.read_text() == 'old'

    assert path.read_text() == 'new'
    assert [one.name for one in path.parent.iterdir()] == ['a.nii.gz']


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    write_text(path, 'old')

    with pytest.raises(KeyboardInterrupt), atomic_path(path) as aside:
        aside.write_text('half')
        raise KeyboardInterrupt

    assert path.read_text() == 'old'
    assert [one.name for one in tmp_path.iterdir()] == ['a.json']


def test_text_is_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / 'a.txt', 'größe\nmm\n')

    assert (tmp_path / 'a.txt').read_bytes() == 'größe\nmm\n'.encode()


def test_a_file_system_that_syncs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, 'Invalid argument')

    monkeypatch.setattr(os, 'fsync', refuse)

    write_text(tmp_path / 'a.txt', 'whole')

    assert (tmp_path / 'a.txt').read_text() == 'whole'


def refuse_folders(
    number: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let ``os.open`` or ``os.fsync`` fail for folders."""
    call = getattr(os, name)

    def refuse(what: int | Path, *rest: object) -> int | None:
        if stat.S_ISDIR(os.stat(what).st_mode):
            raise OSError(number, os.strerror(number), str(what))
        return call(what, *rest)

    monkeypatch.setattr(os, name, refuse)


@pytest.mark.parametrize(
    ('number', 'name'),
    [
        (errno.EACCES, 'open'),  # Windows
        (errno.EINVAL, 'fsync'),  # network and user-space file systems
        (errno.ENOTSUP, 'fsync'),
        (errno.ENOSYS, 'fsync'),
    ],
)
def test_systems_that_do_not_sync_folders(
    number: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_folders(number, name, monkeypatch)

    write_text(tmp_path / 'a.txt', 'whole')

    assert (tmp_path / 'a.txt').read_text() == 'whole'
    assert [path.name for path in tmp_path.iterdir()] == ['a.txt']


def test_a_disk_that_fails_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_folders(errno.EIO, 'fsync', monkeypatch)

    with pytest.raises(OSError, match='Input/output error'):
        write_text(tmp_path / 'a.txt', 'whole')
