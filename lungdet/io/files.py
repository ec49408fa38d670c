"""What may be opened at all: regular files, and not the litter of systems."""

from __future__ import annotations

import stat
from pathlib import Path

from lungdet.errors import LungdetError, SeriesError

# folders and files that archives and file managers add: '._a.nii.gz' of a
# Mac's archive has the name of an image and holds none
LITTER = {'__macosx', 'thumbs.db', 'desktop.ini', '$recycle.bin'}


def is_litter(path: Path) -> bool:
    """Whether a name is a system's, not the user's: hidden, or known."""
    return path.name.startswith('.') or path.name.lower() in LITTER


def check_regular(
    path: Path, *, error: type[LungdetError] = SeriesError
) -> int:
    """Refuse what is no regular file: opening a pipe may wait for ever.

    A link to a regular file is one.

    Args:
        path: File to be opened.
        error: What is raised.

    Returns:
        Its size in bytes.

    Raises:
        LungdetError: A pipe, socket, device or folder.
        OSError: Nothing there, or it cannot be looked at.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise error(
            f'{path}: not a regular file (a folder, pipe or device); give a '
            'file.'
        )
    return status.st_size
