"""Files that are whole or absent: written aside, synced, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` when the block ends.

    The temporary file lies in the same folder, keeps the suffixes of
    ``path`` (writers pick formats by them), is synced before the rename and
    removed if the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f'.tmp-{os.getpid()}-{path.name}')
    try:
        yield aside
        with open(aside, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, line ends LF."""
    with atomic_path(path) as aside:
        aside.write_bytes(text.encode('utf-8'))
