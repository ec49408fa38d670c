"""Which files may be opened: regular ones, not system files."""

from __future__ import annotations

import stat
from pathlib import Path

from lungdet.errors import LungdetError, SeriesError

# folders and files added by archives and file managers: '._a.nii.gz' of a
# macOS archive has the name of an image and is none
LITTER = {'__macosx', 'thumbs.db', 'desktop.ini', '$recycle.bin'}


def is_litter(path: Path) -> bool:
    """Whether a name is a system file's: hidden, or known."""
    return path.name.startswith('.') or path.name.lower() in LITTER


def check_regular(
    path: Path, *, error: type[LungdetError] = SeriesError
) -> int:
    """Refuse files that are not regular: opening a pipe may block forever.

    Links to regular files are accepted.

    Args:
        path: File to be opened.
        error: Type of the error to raise.

    Returns:
        Its size in bytes.

    Raises:
        LungdetError: A pipe, socket, device or folder.
        OSError: It does not exist or cannot be accessed.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise error(
            f'{path}: not a regular file (a folder, pipe or device); give a '
            'file.'
        )
    return status.st_size
