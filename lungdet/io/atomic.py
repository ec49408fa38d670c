"""Files that are whole or absent: written aside, synced, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# how file systems say that they do not sync what they were asked to
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` when the block ends.

    The temporary file is in the same folder, keeps the suffixes of ``path``
    (writers pick formats by them), is synced before the rename and removed if
    the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f'.tmp-{os.getpid()}-{path.name}')
    try:
        yield aside
        with open(aside, 'rb+') as file:
            sync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let a rename in a folder outlast a power cut, where that can be asked.

    Windows does not open folders, and some network and user-space file
    systems do not sync them: the file itself is whole there, too.
    """
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows, or a folder that is not listed
        return
    try:
        sync(opened)
    finally:
        os.close(opened)


def sync(opened: int) -> None:
    """Ask for an open file or folder to be on the disk.

    Raises:
        OSError: The disk failed; not where the file system cannot be asked.
    """
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, line ends LF."""
    with atomic_path(path) as aside:
        aside.write_bytes(text.encode('utf-8'))
