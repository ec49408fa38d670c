from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    labelled,
    store,
    write_series,
)


def test_upper_bits_are_no_part_of_the_value(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth, edit=labelled(BitsStored=12, HighBit=11))
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        stored = np.frombuffer(data.PixelData, np.uint16)
        data.PixelData = (stored | 0x4000).tobytes()  # an overlay's bit
        data.save_as(path)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_spare_bits_of_negative_values_may_be_empty(
    tmp_path: Path, truth: np.ndarray
) -> None:
    """Also of the noise of air, where it is below the range of 12 bits."""
    write_series(tmp_path, truth)
    tags = {'PixelRepresentation': 1, 'BitsStored': 12, 'HighBit': 11}

    def change(stored: np.ndarray) -> np.ndarray:
        hu = stored.astype(int) - 1024
        hu[:15] = -1030  # 4 % of 384
        return (hu & 0xFFF).astype(np.uint16)

    store(tmp_path, change, RescaleIntercept=0, **tags)

    flat = truth.reshape(len(truth), -1)
    read = load_volume(tmp_path).array.reshape(len(truth), -1)
    assert (read[:, :15] == -1030).all()
    np.testing.assert_array_equal(read[:, 15:], flat[:, 15:])


def padded(stored: np.ndarray) -> np.ndarray:
    stored[:60] = 63536  # -2000 in a file of unsigned values
    return stored


def test_named_padding_without_sign_is_padding(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    store(tmp_path, padded, PixelPaddingValue=63536)

    array = load_volume(tmp_path).array

    flat = truth.reshape(len(truth), -1)
    read = array.reshape(len(truth), -1)
    assert (read[:, :60] == -3024).all()
    np.testing.assert_array_equal(read[:, 60:], flat[:, 60:])


def signed_with(value: int, spread: int = 0) -> Callable:
    def change(stored: np.ndarray) -> np.ndarray:
        stored = (stored.astype(int) - 1024).astype(np.int16)
        stored[:15] = value - spread * np.arange(15)  # 4 % of 384
        return stored.view(np.uint16)

    return change


SIGNED = {'PixelRepresentation': 1, 'RescaleIntercept': 0}
SIGNED_RESCALED = {'PixelRepresentation': 1, 'RescaleIntercept': -1024}


@pytest.mark.parametrize(
    ('value', 'tags'),
    [
        (-2000, {}),
        (-32768, {}),
        (-10000, {'PixelPaddingValue': 55536}),
        (-9999, {}),
        (-9999, {'PixelPaddingValue': 63536}),
    ],
)
def test_padding_of_signed_values_is_no_defect(
    tmp_path: Path, truth: np.ndarray, value: int, tags: dict
) -> None:
    write_series(tmp_path, truth)
    store(tmp_path, signed_with(value), **SIGNED, **tags)

    array = load_volume(tmp_path).array

    assert (array.reshape(len(truth), -1)[:, :15] == value).all()


def spread_over(lowest: int) -> Callable:
    """Sixty voxels of every slice with values of a range, at both ends too."""

    def change(stored: np.ndarray) -> np.ndarray:
        stored = stored.astype(int)
        stored[:60] = lowest + np.arange(60)
        return stored.astype(np.int64) & 0xFFFF

    return change


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize(
    ('lowest', 'tags'),
    [
        (3000, {}),  # as of bone
        (980, {}),  # as of soft tissue
        (160, {}),  # as of lung
        (5, {}),
        (63536, {}),  # -2000, but unsigned
        (-2000 & 0xFFFF, SIGNED_RESCALED),
    ],
)
@pytest.mark.parametrize('swapped', [False, True])
def test_a_range_of_padding_is_padding(
    tmp_path: Path,
    truth: np.ndarray,
    lowest: int,
    tags: dict,
    swapped: bool,
    compressed: bool,
) -> None:
    ends = sorted([lowest, lowest + 59], reverse=swapped)
    padding = dict(zip(('PixelPaddingValue', 'PixelPaddingRangeLimit'), ends))
    write_series(tmp_path, truth)
    store(tmp_path, spread_over(lowest), **padding, **tags)
    if compressed:
        for path in tmp_path.glob('*.dcm'):
            data = pydicom.dcmread(path)
            data.compress(pydicom.uid.RLELossless)
            data.save_as(path)

    volume = load_volume(tmp_path)

    read = volume.array.reshape(len(truth), -1)
    assert (read[:, :60] == -1024).all()
    rest = truth.reshape(len(truth), -1)[:, 60:].astype(int)
    inside = (rest + 1024 >= lowest) & (rest + 1024 <= lowest + 59)
    wanted = np.where(inside, -1024, rest)
    np.testing.assert_array_equal(read[:, 60:], wanted)
    like_tissue = any('lung or other tissue' in c for c in volume.caveats)
    assert like_tissue == (lowest in (3000, 980, 160))


def test_padding_that_no_scanner_measures_is_air(
    tmp_path: Path, truth: np.ndarray
) -> None:
    def change(stored: np.ndarray) -> np.ndarray:
        stored[:60] = 30000
        return stored

    write_series(tmp_path, truth)
    store(tmp_path, change, PixelPaddingValue=30000)

    read = load_volume(tmp_path).array.reshape(len(truth), -1)

    assert (read[:, :60] == -1024).all()


def test_a_lone_padding_value_of_tissue_is_tissue(
    tmp_path: Path, truth: np.ndarray
) -> None:
    """Exporters state 0, and store water as 0."""
    write_series(tmp_path, truth)
    tissue = int(truth[3, 4, 5]) + 1024
    store(tmp_path, lambda stored: stored, PixelPaddingValue=tissue)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


@pytest.mark.parametrize(
    ('change', 'tags', 'reason'),
    [
        (padded, {}, 'exceed 16 bits after rescaling'),
        (lambda v: v - 1024, {'RescaleIntercept': 0}, 'exceed 16 bits'),
        (
            lambda v: v - 1024,
            {'RescaleIntercept': 0, 'BitsStored': 12, 'HighBit': 11},
            'PixelRepresentation says that values are unsigned',
        ),
        (
            lambda v: v + 2000,
            {'PixelRepresentation': 1, 'BitsStored': 12, 'HighBit': 11},
            'PixelRepresentation says that values are signed',
        ),
        (signed_with(-10000, 7), SIGNED, 'below -4096 HU and not padding'),
        (
            signed_with(-10000, 7),
            {**SIGNED, 'PixelPaddingValue': 63536},
            'below -4096 HU and not padding',
        ),
        (lambda v: v, {'BitsStored': 12}, 'HighBit 15'),
        (lambda v: v, {'BitsStored': 0, 'HighBit': 0}, 'BitsStored is 0'),
        (lambda v: v, {'RescaleSlope': -1}, 'upside down'),
    ],
)
def test_values_that_contradict_their_tags_are_refused(
    tmp_path: Path,
    truth: np.ndarray,
    change: Callable,
    tags: dict,
    reason: str,
) -> None:
    write_series(tmp_path, truth)
    store(tmp_path, change, **tags)

    with pytest.raises(SeriesError, match=reason):
        load_volume(tmp_path)
