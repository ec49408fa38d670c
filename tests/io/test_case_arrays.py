from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.case_arrays import check_array, open_array, packed, read_part

SHAPE = (70, 40, 90)  # more than a chunk along z and x, less along y


@pytest.fixture
def array(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(-1024, 3071, SHAPE).astype(np.int16)


def test_every_region_comes_back(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / 'x.b2nd'
    path.write_bytes(packed(array))

    stored = open_array(path, SHAPE, np.int16)

    region = (slice(60, 67), slice(0, 40), slice(63, 65))
    np.testing.assert_array_equal(read_part(stored, ...), array)
    np.testing.assert_array_equal(read_part(stored, region), array[region])
    check_array(stored, zlib.crc32(array.data), path)
    with pytest.raises(SeriesError, match='the file changed'):
        check_array(stored, zlib.crc32(array.data) ^ 1, path)


def test_bytes_depend_on_the_values_alone(array: np.ndarray) -> None:
    turned = np.asfortranarray(array)

    assert packed(np.ascontiguousarray(turned)) == packed(array)


@pytest.mark.parametrize(
    ('shape', 'dtype', 'reason'),
    [
        ((70, 40, 91), np.int16, r'the index says \(70, 40, 91\)'),
        (SHAPE, np.uint8, 'of type int16, not uint8'),
    ],
)
def test_another_array_than_expected_is_refused(
    tmp_path: Path, array: np.ndarray, shape: tuple, dtype: type, reason: str
) -> None:
    path = tmp_path / 'x.b2nd'
    path.write_bytes(packed(array))

    with pytest.raises(SeriesError, match=reason):
        open_array(path, shape, dtype)
    with pytest.raises(SeriesError, match='missing or damaged'):
        open_array(tmp_path / 'absent.b2nd', SHAPE, np.int16)
