"""Checksums that tell whether a scan's files have changed."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

from lungdet.io.metaimage import data_file

BLOCKS, BLOCK_BYTES = 16, 4096  # read of each file


def fingerprint(path: Path | None) -> int | None:
    """Checksum of the names, sizes and a sample of the bytes of a scan.

    For a header it includes the voxels' file, for a folder all its files. The
    sample is spread over a file: the first bytes of raw scans are air.

    Args:
        path: File or folder; None gives None.

    Raises:
        OSError: A file cannot be read.
    """
    if path is None:
        return None
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob('*') if p.is_file())
    elif path.suffix.lower() == '.mhd' and path.is_file():
        files.append(data_file(path))
    crc = 0
    for one in files:
        size = one.stat().st_size
        if not one.is_file():  # a pipe would block
            raise OSError(errno.EINVAL, 'Not a file', str(one))
        crc = zlib.crc32(f'{one.name} {size} '.encode(errors='replace'), crc)
        with open(one, 'rb') as file:
            for k in range(BLOCKS):
                file.seek(k * max(size - BLOCK_BYTES, 0) // (BLOCKS - 1))
                crc = zlib.crc32(file.read(BLOCK_BYTES), crc)
    return crc
