"""Decompression to a known size, never to more."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from lungdet.errors import SeriesError

MAX_PART = 1 << 22  # bytes decompressed at a time
MAX_DEFLATE_RATIO = 1032  # largest compression ratio of deflate
ZLIB_OR_GZIP, RAW_DEFLATE = 47, -15  # window bits


def check_ratio(where: str, packed: int, need: int) -> None:
    """Refuse an impossible compression ratio before memory is allocated.

    Args:
        where: File, for the message.
        packed: Bytes of compressed data.
        need: Bytes after decompression.

    Raises:
        SeriesError: More than deflate can compress.
    """
    if need > (packed + 64) * MAX_DEFLATE_RATIO:
        raise SeriesError(
            f'{where}: {packed} bytes of compressed data cannot hold the '
            f"header's {need}; the file is cut, or the header is wrong. Copy "
            'the file again.'
        )


def inflate(file: BinaryIO, need: int, where: str) -> bytearray:
    """Decompress zlib or gzip data to exactly ``need`` bytes.

    The checksum at its end is verified, and nothing may follow it.

    Args:
        file: At the first compressed byte.
        need: Bytes after decompression.
        where: File, for messages.

    Raises:
        SeriesError: Damaged data, or more or fewer bytes.
    """
    at = file.tell()
    check_ratio(where, file.seek(0, 2) - at, need)
    file.seek(at)
    decoder = zlib.decompressobj(wbits=ZLIB_OR_GZIP)
    voxels, got = bytearray(need), 0
    try:
        while got <= need and not decoder.eof:
            chunk = decoder.unconsumed_tail or file.read(1 << 20)
            part = decoder.decompress(chunk, min(need + 1 - got, MAX_PART))
            if not chunk and not part:
                break
            if got + len(part) <= need:
                voxels[got : got + len(part)] = part
            got += len(part)
    except zlib.error as error:
        raise SeriesError(
            f'{where}: compressed data is damaged ({error}); copy the file '
            'again.'
        ) from error
    if got != need or not decoder.eof:
        more = 'more' if got > need else 'less'
        raise SeriesError(
            f"{where}: compressed data gives {more} than the header's {need} "
            'bytes; header and file do not belong together.'
        )
    if decoder.unused_data or file.read(1):
        raise SeriesError(
            f'{where}: more bytes follow the compressed data; header and '
            'file do not belong together. Copy both again.'
        )
    return voxels


def inflate_at_most(
    packed: bytes, most: int, where: str, *, whole: bool
) -> bytes:
    """Decompress raw deflate data, as deflated DICOM has it.

    Args:
        packed: Compressed data.
        most: Bytes to decompress.
        where: File, for messages.
        whole: Whether the data must end within them.

    Raises:
        SeriesError: Damaged data or, if ``whole``, data that is truncated or
            gives more than ``most`` bytes.
    """
    decoder = zlib.decompressobj(wbits=RAW_DEFLATE)
    try:
        content = decoder.decompress(packed, most)
    except zlib.error as error:
        raise SeriesError(
            f'{where}: deflated data is damaged ({error}); copy the file '
            'again.'
        ) from error
    if whole and not decoder.eof:
        what = 'is cut' if len(content) < most else f'gives over {most} bytes'
        raise SeriesError(
            f'{where}: deflated data {what}; copy the file again, or export '
            'the series uncompressed.'
        )
    return content
