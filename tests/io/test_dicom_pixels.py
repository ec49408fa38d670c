from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    labelled,
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
