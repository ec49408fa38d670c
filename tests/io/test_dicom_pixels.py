from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from lungdet.errors import SeriesError
from lungdet.io.dicom_pixels import shift_planes
from lungdet.io.image import load_volume
from tests.dicom_series import (
    drop_rescale,
    labelled,
    raw_text,
    store,
    write_series,
    write_slice,
)


def test_rescale_differs_by_slice(tmp_path: Path, truth: np.ndarray) -> None:
    for k, plane in enumerate(truth):

        def edit(data: FileDataset, k: int = k) -> None:
            data.RescaleSlope, data.RescaleIntercept = 0.5, -1024 - k

        write_slice(tmp_path, k, plane, edit=edit)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_compressed_slices_are_decoded(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless)
        data.save_as(path)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_cut_pixels_are_refused(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    path = tmp_path / '095.dcm'
    data = pydicom.dcmread(path)
    data.PixelData = data.PixelData[:100]
    data.save_as(path)

    with pytest.raises(SeriesError, match=r'095\.dcm: pixels .*\(16,24\)'):
        load_volume(tmp_path)


def test_unsupported_compression_is_named(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless)
        data.file_meta.TransferSyntaxUID = '1.2.840.10008.1.2.4.201'
        data.save_as(path)

    with pytest.raises(SeriesError, match='syntax 1.2.840.10008.1.2.4.201'):
        load_volume(tmp_path)


@pytest.mark.parametrize('tag', ['RescaleSlope', 'RescaleIntercept'])
@pytest.mark.parametrize('text', ['nan', 'inf ', '-inf'])
def test_one_slice_of_no_scale_is_refused(
    tmp_path: Path, truth: np.ndarray, tag: str, text: str
) -> None:
    write_series(tmp_path, truth)
    raw_text(tmp_path / '090.dcm', tag, text)

    with pytest.raises(SeriesError, match=f'090.dcm: {tag} cannot be read'):
        load_volume(tmp_path)


def test_padding_does_not_hide_that_the_offset_is_unknown(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth, edit=labelled(PixelRepresentation=1))
    store(
        tmp_path,
        lambda stored: np.r_[np.full(60, 63536, np.uint16), stored[60:]],
    )
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        drop_rescale(data)
        data.save_as(path)

    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(tmp_path)
    array = load_volume(tmp_path, hu_offset=-1024).array

    read, flat = array.reshape(26, -1), truth.reshape(26, -1)
    np.testing.assert_array_equal(read[:, 60:], flat[:, 60:])


def test_a_corrected_file_is_read_again(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    first, last = tmp_path / '099.dcm', tmp_path / '074.dcm'
    good, whole = first.read_bytes(), last.read_bytes()
    times = first.stat()
    first.write_bytes(good[:-2] + b'\x07\x07')
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    last.write_bytes(whole[:-100])
    with pytest.raises(SeriesError):
        load_volume(tmp_path)
    first.write_bytes(good)
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    last.write_bytes(whole)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_shifted_planes_fade_to_air() -> None:
    planes = np.array([[[10, 20, 30]], [[40, 20, 60]]], dtype=np.int16)

    shifted = shift_planes(planes, np.array([[0, 0], [0, 1.5]]))

    # by 1.5 voxels to the right: means of neighbours, and of the outermost
    # voxels and air, which is 10 as the lowest value: (10 + 40) / 2 = 25
    expected = [[[10, 20, 30, 10, 10]], [[10, 25, 30, 40, 35]]]
    np.testing.assert_array_equal(shifted, expected)


def test_air_beside_shifted_planes_is_no_padding() -> None:
    planes = np.array([[[-2000, 0]]] * 2, dtype=np.int16)

    shifted = shift_planes(planes, np.array([[0, 0], [1, 0]]))

    air = [-1024, -1024]
    expected = [[[-2000, 0], air], [air, [-2000, 0]]]
    np.testing.assert_array_equal(shifted, expected)


def test_air_of_a_tilted_scan_without_rescale_lacks_its_offset(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k, plane in enumerate(truth):

        def edit(data: FileDataset, k: int = k) -> None:
            drop_rescale(data)
            data.ImagePositionPatient = [-10, 5 + k, -100 + 2.0 * k]

        write_slice(tmp_path, k, plane, edit=edit)

    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(tmp_path)
    array = load_volume(tmp_path, hu_offset=-1024).array

    assert array.shape == (26, 16 + 7, 24)  # 25 mm are 6.25 rows
    assert {*array[0, 16:].ravel()} == {truth.min()}
