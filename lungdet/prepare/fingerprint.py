"""Checksums that tell whether a scan's files have changed."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterable
from pathlib import Path

from lungdet.io.files import is_dicom_head, is_litter
from lungdet.io.metaimage import data_file

BLOCKS, BLOCK_BYTES = 16, 4096  # the sample of each file
READ_BYTES = 1 << 20  # at once, of a whole file
HEAD_BYTES = 256  # of a DICOM file, with the UID of its kind of object
# segmentations and reports, such as lungdet's results
NO_SLICES = (b'1.2.840.10008.5.1.4.1.1.66.4', b'1.2.840.10008.5.1.4.1.1.88.')


def fingerprint(path: Path | None, *, whole: bool = False) -> int | None:
    """Checksum of the names, sizes and bytes of the files of a scan.

    For a header it includes the voxels' file. Of a folder only what may be a
    slice of it counts: a reader ignores the rest, such as files of the system
    and results of an earlier run.

    Args:
        path: File or folder; None gives None.
        whole: All bytes, for files that differ in few of them if somebody
            corrects them: masks, and the readers' outlines.

    Raises:
        OSError: A file cannot be read.
    """
    if path is None:
        return None
    files = [path]
    if path.is_dir():
        files = _slices_below(path)
    elif path.suffix.lower() == '.mhd' and path.is_file():
        files.append(data_file(path))
    return fingerprint_of(files, whole=whole)


def fingerprint_of(files: Iterable[Path], *, whole: bool = False) -> int:
    """Checksum of the names, sizes and bytes of files, in their order.

    Of a scan's many bytes a sample will do: each scan has its own noise
    everywhere. It is spread over a file, since the first bytes of raw scans
    are air.

    Args:
        files: Regular files.
        whole: As ``fingerprint``.

    Raises:
        OSError: A file cannot be read.
    """
    crc = 0
    for one in files:
        size = one.stat().st_size
        if not one.is_file():  # a pipe would block
            raise OSError(errno.EINVAL, 'Not a file', str(one))
        crc = zlib.crc32(f'{one.name} {size} '.encode(errors='replace'), crc)
        with open(one, 'rb') as file:
            if whole:
                while block := file.read(READ_BYTES):
                    crc = zlib.crc32(block, crc)
                continue
            for k in range(BLOCKS):
                file.seek(k * max(size - BLOCK_BYTES, 0) // (BLOCKS - 1))
                crc = zlib.crc32(file.read(BLOCK_BYTES), crc)
    return crc


def _slices_below(folder: Path) -> list[Path]:
    """DICOM files that may be slices, at any depth, sorted."""
    return [
        path
        for path in sorted(folder.rglob('*'))
        if not any(map(is_litter, map(Path, path.relative_to(folder).parts)))
        and path.is_file()
        and _may_be_slice(path)
    ]


def _may_be_slice(path: Path) -> bool:
    with open(path, 'rb') as file:
        head = file.read(HEAD_BYTES)
    return is_dicom_head(head) and not any(uid in head for uid in NO_SLICES)
