"""Which files may be opened: regular ones, not system files."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from pathlib import Path
from typing import BinaryIO

from lungdet.errors import LungdetError, SeriesError

# folders and files added by archives and file managers: '._a.nii.gz' of a
# macOS archive is named like an image and is none
LITTER = {'__macosx', 'thumbs.db', 'desktop.ini', '$recycle.bin'}

# names that are valid on every system; device names of Windows are not
SAFE_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,99}')
DEVICE_NAME = re.compile(
    r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE
)
MAX_PLAIN = 40  # characters of a name that is not safe

WAIT_SECONDS = 3.0  # for the writer of a pipe


def is_litter(path: Path) -> bool:
    """Whether a name is a system file's: hidden, or known."""
    return path.name.startswith('.') or path.name.lower() in LITTER


def is_dicom_head(head: bytes) -> bool:
    """Whether a file that starts with these bytes, 132 at least, is DICOM."""
    return head[128:132] == b'DICM'


def safe_name(text: str) -> str:
    """A name for a file or folder, different for different texts.

    Args:
        text: From anywhere, such as a header or another system's file.

    Examples:
        >>> safe_name('1.3.6.1')
        '1.3.6.1'
        >>> safe_name('../x y')
        'x_y-46c740c6'
    """
    if (
        SAFE_NAME.fullmatch(text)
        and not text.endswith('.')
        and not DEVICE_NAME.fullmatch(text)
    ):
        return text
    plain = re.sub(r'[^A-Za-z0-9]+', '_', text).strip('_')[:MAX_PLAIN]
    digest = hashlib.sha256(text.encode('utf-8', 'surrogateescape'))
    return f'{plain or "scan"}-{digest.hexdigest()[:8]}'


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


def open_or_pipe(
    path: Path, *, error: type[LungdetError] = SeriesError
) -> tuple[BinaryIO, bytes]:
    """Open a file, or a pipe that somebody writes to.

    A shell's ``<(...)`` is such a pipe. Opening one without a writer would
    block for ever.

    Returns:
        The file, and the bytes of a pipe that were read to see that it has a
        writer.

    Raises:
        LungdetError: A pipe without a writer, or a folder or device.
        OSError: It cannot be opened.
    """
    mode = path.stat().st_mode
    if not stat.S_ISFIFO(mode):
        if not stat.S_ISCHR(mode):  # /dev/null is an empty file
            check_regular(path, error=error)
        return open(path, 'rb'), b''
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    started = time.monotonic()
    while time.monotonic() - started < WAIT_SECONDS:
        try:
            first = os.read(pipe, 1)
        except BlockingIOError:  # a writer is there
            first = b''
            break
        if first:
            break
        time.sleep(0.05)
    else:
        os.close(pipe)
        raise error(
            f'{path}: a pipe without a writer; give a file, or start '
            'the writer first.'
        )
    os.set_blocking(pipe, True)
    return os.fdopen(pipe, 'rb'), first
