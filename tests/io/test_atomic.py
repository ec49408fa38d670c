from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lungdet.errors import explain
from lungdet.io.atomic import (
    HOST,
    atomic_path,
    atomic_paths,
    check_writable,
    remove_leftovers,
    scratch_folder,
    write_text,
)


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


def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    """Not what runs that go on are writing, on this machine or another."""
    dead = gone()
    for name in (
        f'.tmp-{dead}-a.json',
        f'.tmp-{dead}-{HOST}-a.json',
        f'.tmp-{os.getppid()}-{HOST}-b.json',
        f'.tmp-{dead}-0badcafe-c.json',
        '.tmp-notes',
    ):
        (tmp_path / name).touch()
    (tmp_path / f'.tmp-{dead}-0badcafe-d.json').touch()
    os.utime(tmp_path / f'.tmp-{dead}-0badcafe-d.json', (0, 0))
    (tmp_path / f'.tmp-{dead}-{HOST}-folder' / 'deep').mkdir(parents=True)
    (tmp_path / f'.tmp-{dead}-{HOST}-folder' / 'deep' / 'file').touch()

    write_text(tmp_path / 'x.json', 'x')

    assert {path.name for path in tmp_path.iterdir()} == {
        'x.json',
        f'.tmp-{os.getppid()}-{HOST}-b.json',
        f'.tmp-{dead}-0badcafe-c.json',
        '.tmp-notes',
    }


def test_several_files_are_replaced_once_all_are_written(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / 'a.bin', tmp_path / 'b.bin']
    steps = []

    with atomic_paths(paths, before=lambda: steps.append('before')) as asides:
        for aside in asides:
            aside.write_bytes(b'1')
            assert [p.name for p in tmp_path.glob('[!.]*')] == []
        assert not steps

    assert steps == ['before']
    assert all(path.read_bytes() == b'1' for path in paths)
    with pytest.raises(RuntimeError), atomic_paths(paths) as asides:
        asides[0].write_bytes(b'2')
        raise RuntimeError
    assert all(path.read_bytes() == b'1' for path in paths)


@pytest.mark.parametrize('silent', [True, False])
def test_a_full_disk_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """Whether the writer says so, or fails with an error of its own."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with (
        pytest.raises(OSError) as caught,
        atomic_path(tmp_path / 'a.png') as aside,
    ):
        aside.write_bytes(b'1')
        if not silent:
            raise RuntimeError('cannot write')

    assert f'{tmp_path}/a.png: no space left' in explain(caught.value)
    assert not list(tmp_path.iterdir())


def test_another_error_of_a_writer_stays_what_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match='no such codec'),
        atomic_path(tmp_path / 'a.png'),
    ):
        raise RuntimeError('no such codec')

    assert not list(tmp_path.iterdir())


def test_folders_are_tried_before_the_work(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('a')

    assert check_writable(tmp_path / 'new', 'x') == tmp_path / 'new'
    assert not list((tmp_path / 'new').iterdir())
    for folder in (tmp_path / 'file', Path('/proc/new'), tmp_path / 'file/a'):
        with pytest.raises(OSError, match=f'{folder}: cannot be written to'):
            check_writable(folder, 'the results')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='has no named pipes')
def test_pipe_or_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    """As root, ``--json /dev/stdout`` would have removed it."""
    os.mkfifo(tmp_path / 'pipe')

    with (
        pytest.raises(OSError, match='pipe: is not a file that can'),
        atomic_path(tmp_path / 'pipe'),
    ):
        raise AssertionError('is refused before it is written')

    assert (tmp_path / 'pipe').is_fifo()


def test_a_scratch_folder_is_empty_and_goes(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch_folder(tmp_path / 'a') as folder:
        assert folder.parent == tmp_path / 'a' and not any(folder.iterdir())
        (folder / 'deep').mkdir()
        (folder / 'deep' / 'file').write_text('x')
        remove_leftovers(tmp_path / 'a')
        assert (folder / 'deep' / 'file').exists()
        raise KeyError

    assert not any((tmp_path / 'a').iterdir())
