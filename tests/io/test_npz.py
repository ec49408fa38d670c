from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.npz import read_arrays
from tests.fuzz.corpus import array_claims, bit_in


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / 'a.npz'
    np.savez(path, hu=np.arange(400, dtype='<i2'), name=np.array(['x', 'y']))
    return path


def test_arrays_come_back(archive: Path) -> None:
    every = read_arrays(archive)

    assert list(every) == ['hu', 'name']
    assert every['hu'].tolist() == list(range(400))
    assert read_arrays(archive, ['name'])['name'].tolist() == ['x', 'y']


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (array_claims('hu', (10**10,)), r'hu: \(10000000000,\) values in'),
        (array_claims('hu', (-1,)), r'hu: \(-1,\) values'),
        (bit_in('hu'), 'CRC'),
        (lambda content: content[:300], 'not a zip file'),
    ],
)
def test_damaged_archives_are_no_archives(
    archive: Path, change, reason: str
) -> None:
    archive.write_bytes(change(archive.read_bytes()))

    with pytest.raises(ValueError, match=reason):
        read_arrays(archive)


def test_what_is_missing_is_named(archive: Path) -> None:
    with pytest.raises(ValueError, match='mask'):
        read_arrays(archive, ['hu', 'mask'])


def test_memory_is_not_filled(tmp_path: Path) -> None:
    path = tmp_path / 'bomb.npz'
    np.savez_compressed(path, hu=np.zeros(50_000_000, np.int16))
    assert path.stat().st_size < 200_000

    with pytest.raises(SeriesError, match='claim to unpack to 100000'):
        read_arrays(path)


def test_a_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')

    with pytest.raises(SeriesError, match='not a regular file'):
        read_arrays(tmp_path / 'pipe')
