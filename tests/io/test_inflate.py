from __future__ import annotations

import gzip
import zlib
from io import BytesIO

import pytest

from lungdet.errors import SeriesError
from lungdet.io.inflate import check_ratio, inflate, inflate_at_most

DATA = bytes(range(256)) * 40


@pytest.mark.parametrize('compress', [zlib.compress, gzip.compress])
def test_voxels_come_back_from_where_the_file_stands(compress) -> None:
    file = BytesIO(b'header' + compress(DATA))
    file.seek(6)

    assert inflate(file, len(DATA), 'x') == DATA


def cut(packed: bytes) -> bytes:
    return packed[:-20]


def flipped(packed: bytes) -> bytes:
    return packed[:-1] + bytes([packed[-1] ^ 1])  # of the checksum


@pytest.mark.parametrize(
    ('damage', 'need', 'reason'),
    [
        (cut, len(DATA), 'gives less than'),
        (flipped, len(DATA), 'is damaged'),
        (bytes, len(DATA) - 1, 'gives more than'),
        (bytes, len(DATA) + 1, 'gives less than'),
        (lambda packed: packed + b'x', len(DATA), 'more bytes follow'),
        (bytes, 10**9, 'cannot hold'),
    ],
)
def test_other_sizes_and_damage_are_refused(
    damage, need: int, reason: str
) -> None:
    file = BytesIO(damage(zlib.compress(DATA)))

    with pytest.raises(SeriesError, match=f'x.zraw: .*{reason}'):
        inflate(file, need, 'x.zraw')


def test_the_best_ratio_of_deflate_is_allowed() -> None:
    zeros = 50_000_000
    packed = len(zlib.compress(bytes(zeros), 9))

    check_ratio('x', packed, zeros)
    with pytest.raises(SeriesError, match='cannot hold'):
        check_ratio('x', packed, 2 * zeros)


def test_raw_deflate_data_stops_at_the_limit() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(DATA) + packer.flush()

    assert inflate_at_most(packed, 100, 'x', whole=False) == DATA[:100]
    assert inflate_at_most(packed, len(DATA) + 1, 'x', whole=True) == DATA
    with pytest.raises(SeriesError, match='gives over 100 bytes'):
        inflate_at_most(packed, 100, 'x', whole=True)
    with pytest.raises(SeriesError, match='is cut'):
        inflate_at_most(packed[:9], len(DATA), 'x', whole=True)
