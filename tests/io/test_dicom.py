from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    drop_rescale,
    labelled,
    write_series,
    write_slice,
)


@pytest.mark.slow
def test_real_series_agrees_with_simpleitk(test_data: Path) -> None:
    (folder,) = (test_data / 'luna16-mini' / 'subset1-dicom').iterdir()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()

    volume = load_volume(folder)

    np.testing.assert_array_equal(
        volume.array, sitk.GetArrayViewFromImage(image)
    )
    np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin())
    np.testing.assert_allclose(
        volume.geometry.spacing[::-1], image.GetSpacing()
    )


def test_missing_rescale(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth, edit=drop_rescale)

    with pytest.raises(SeriesError, match='--hu-offset'):
        load_volume(tmp_path)

    volume = load_volume(tmp_path, hu_offset=-1024)
    np.testing.assert_array_equal(volume.array, truth)


def test_signed_hu_without_rescale_is_judged_as_a_stack(
    tmp_path: Path, truth: np.ndarray
) -> None:
    def signed(data: FileDataset) -> None:
        drop_rescale(data)
        data.PixelRepresentation = 1

    truth = truth.copy()
    truth[5] = 40  # a slice without air

    def raw(folder: Path) -> None:
        for k, plane in enumerate(truth):
            # the writer takes the intercept away, as for unsigned values
            write_slice(folder, k, plane - 1024, edit=signed)

    raw(tmp_path)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('edit', [drop_rescale, labelled(RescaleIntercept=0)])
def test_offset_serves_every_series_that_lacks_it(
    tmp_path: Path,
    truth: np.ndarray,
    compressed: bool,
    edit: Callable[[FileDataset], None],
) -> None:
    lacks = edit is drop_rescale
    truth = truth.copy()
    truth[:, :4] = -1000  # air
    for k, plane in enumerate(truth):
        path = write_slice(
            tmp_path, k, plane if lacks else plane + 1024, edit=edit
        )
        if compressed:
            data = pydicom.dcmread(path)
            data.compress(pydicom.uid.RLELossless)
            data.save_as(path)

    with pytest.raises(SeriesError, match='give --hu-offset -1024'):
        load_volume(tmp_path)
    volume = load_volume(tmp_path, hu_offset=-1024)

    np.testing.assert_array_equal(volume.array, truth)
