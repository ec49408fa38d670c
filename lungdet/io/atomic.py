"""Files that are whole or absent: written aside, synced, then renamed.

A file that is being written is called ``.tmp-PID-HOST-NAME``. What a killed
process left is removed by the next one that writes to the same folder.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

# errors of file systems that cannot sync
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
LEFTOVER = re.compile(r'\.tmp-(\d+)-(?:([0-9a-f]{8})-)?.+', re.DOTALL)
HOST = f'{zlib.crc32(platform.node().encode()):08x}'
FOREIGN_SECONDS = 24 * 3600.0  # then a run on another machine has ended
PROBE = bytes(1 << 16)  # more than a full disk takes


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` when the block ends.

    The temporary file is in the same folder, keeps the suffixes of ``path``
    (writers pick formats by them), is synced before the rename and removed if
    the block raises.

    Raises:
        OSError: The folder cannot be written to, the disk is full, or a
            device or pipe has the name; names the file.
    """
    with atomic_paths([path]) as (aside,):
        yield aside


@contextmanager
def atomic_paths(
    paths: Sequence[str | Path], before: Callable[[], None] | None = None
) -> Iterator[list[Path]]:
    """Give a temporary path for each of several files of one folder.

    All are written and synced before the first one is replaced, so a full
    disk leaves what was there.

    Args:
        paths: Replaced in this order.
        before: Called before the first file is replaced.

    Raises:
        OSError: As ``atomic_path``.
    """
    targets = [Path(path) for path in paths]
    for path in targets:
        check_replaceable(path)
    folder = targets[0].parent
    make_folder(folder)
    remove_leftovers(folder)
    asides = [
        path.with_name(f'.tmp-{os.getpid()}-{HOST}-{path.name}')
        for path in targets
    ]
    try:
        with full_disk_named(targets[0]):
            yield asides
            for aside in asides:
                with open(aside, 'rb+') as file:
                    sync(file.fileno())
        if before is not None:
            before()
        for aside, path in zip(asides, targets):
            os.replace(aside, path)
    finally:
        for aside in asides:
            aside.unlink(missing_ok=True)
    sync_folder(folder)


def check_replaceable(path: Path) -> None:
    """Refuse a target that writing a file would destroy.

    Raises:
        OSError: A folder, a pipe or a device such as ``/dev/stdout``.
    """
    if path.exists() and not path.is_file():
        raise OSError(
            f'{path}: is not a file that can be replaced; name a file in a '
            'folder.'
        )


def make_folder(folder: Path) -> None:
    """Make a folder and its parents if they do not exist.

    Raises:
        OSError: A file is in the way, or it cannot be made; names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(
            errno.ENOTDIR, 'It is a file', str(folder)
        ) from error


def check_writable(folder: str | Path, what: str) -> Path:
    """Make a folder if need be, and check before any work that it can be
    written.

    Args:
        folder: Where something will be written.
        what: What will be written, for the message.

    Raises:
        OSError: It cannot be written to.
    """
    folder = Path(folder)
    probe = folder / f'.tmp-{os.getpid()}-{HOST}-probe'
    try:
        make_folder(folder)
        try:
            probe.write_bytes(PROBE)
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
    except OSError as error:
        raise type(error)(
            f'{folder}: cannot be written to ({error.strerror}); give another '
            f'folder for {what}.'
        ) from error
    remove_leftovers(folder)
    return folder


@contextmanager
def scratch_folder(folder: str | Path) -> Iterator[Path]:
    """Give an empty folder inside another one; it is removed when the block
    ends.

    Args:
        folder: Made if it does not exist.

    Raises:
        OSError: It cannot be written to.
    """
    make_folder(Path(folder))
    scratch = Path(
        mkdtemp(prefix=f'.tmp-{os.getpid()}-{HOST}-', dir=Path(folder))
    )
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Let every error for lack of space say so, whichever library raises it.

    Libraries raise errors of their own, or the system's without a file.

    Args:
        path: File being written.

    Raises:
        OSError: Nothing can be written to the folder of ``path``; or what
            the block raised, with a file.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except Exception as error:
        reason = refusal_to_write(path.parent)
        if reason is None:
            raise
        raise OSError(reason.errno, reason.strerror, str(path)) from error


def refusal_to_write(folder: Path) -> OSError | None:
    """The system's error if ``folder`` takes no file; None if it does."""
    probe = folder / f'.tmp-{os.getpid()}-{HOST}-probe'
    try:
        with open(probe, 'wb') as file:
            file.write(PROBE)
            file.flush()
            sync(file.fileno())
    except OSError as error:
        return error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def sync_folder(folder: Path) -> None:
    """Let a rename in a folder survive a power cut, where the system can.

    Windows does not open folders, and some network and user-space file systems
    do not sync them; even there the file itself is whole.
    """
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows, or a folder without read permission
        return
    try:
        sync(opened)
    finally:
        os.close(opened)


def sync(opened: int) -> None:
    """Have the system write an open file or folder to the disk.

    Raises:
        OSError: The disk failed. A file system that cannot sync is no error.
    """
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, with LF line ends."""
    with atomic_path(path) as aside:
        aside.write_bytes(text.encode('utf-8'))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left in a folder."""
    with suppress(OSError):
        for path in folder.glob('.tmp-*'):
            match = LEFTOVER.fullmatch(path.name)
            if match and _is_left(path, int(match[1]), match[2] or HOST):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _is_left(path: Path, process: int, host: str) -> bool:
    """Whether the process that wrote a file is gone.

    Processes on other machines, and on Windows, cannot be checked.
    """
    if host != HOST or os.name != 'posix':
        return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError as error:
        return error.errno != errno.EPERM  # another user's
    return False
