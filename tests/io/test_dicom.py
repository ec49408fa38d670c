from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from lungdet.errors import SeriesError
from lungdet.io.dicom import list_series, load_dicom_series

SLICES, ROWS, COLUMNS, STEP = 20, 16, 24, 2.0


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    """HU linear along z, so that interpolated slices are known."""
    base = rng.integers(-1000, 0, (1, ROWS, COLUMNS))
    return (base + 10 * np.arange(SLICES)[:, None, None]).astype(np.int16)


def write_slice(
    folder: Path,
    k: int,
    hu: np.ndarray,
    *,
    edit: Callable[[FileDataset], None] | None = None,
    name: str = '',
    series: str = '1.2.3',
    z: float | None = None,
) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / (name or f'{99 - k:03d}.dcm')  # names run the other way
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = series
    data.Modality = 'CT'
    data.ImageType = ['ORIGINAL', 'PRIMARY', 'AXIAL']
    data.Rows, data.Columns = hu.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = 'MONOCHROME2'
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.PixelSpacing = [0.8, 0.7]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-10, 5, -100 + STEP * k if z is None else z]
    data.SliceThickness = STEP
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.InstanceNumber = SLICES - k
    if edit:
        edit(data)
    slope = float(data.get('RescaleSlope', 1))
    intercept = float(data.get('RescaleIntercept', -1024))
    raw = np.rint((hu - intercept) / slope).astype(np.uint16)
    data.PixelData = raw.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, truth: np.ndarray, **options: object) -> None:
    for k, plane in enumerate(truth):
        write_slice(folder, k, plane, **options)


def test_sound_series_with_strays(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    (tmp_path / 'notes.xml').write_text('<a/>')

    volume = load_dicom_series(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    np.testing.assert_allclose(volume.geometry.origin, (-10, 5, -100))
    np.testing.assert_allclose(volume.geometry.spacing, (2, 0.8, 0.7))
    assert volume.series_uid == '1.2.3'
    assert any('1 not DICOM' in text for text in volume.warnings)


def test_duplicate_slice_is_left_out(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 7, truth[7], name='copy.dcm')

    volume = load_dicom_series(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert any('1 duplicate' in text for text in volume.warnings)


def test_two_images_at_one_place_are_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 7, truth[7] + 5, name='other.dcm')

    with pytest.raises(SeriesError, match='two different images'):
        load_dicom_series(tmp_path)


def test_second_acquisition_is_taken_whole(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for number in (1, 2):
        for k, plane in enumerate(truth):
            write_slice(
                tmp_path,
                k,
                plane + number,
                name=f'{number}_{k}.dcm',
                edit=lambda d, n=number: setattr(d, 'AcquisitionNumber', n),
            )

    volume = load_dicom_series(tmp_path)

    np.testing.assert_array_equal(volume.array, truth + 2)
    assert any('2 acquisitions' in text for text in volume.warnings)


def test_one_missing_slice_is_interpolated(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k in range(SLICES):
        if k != 8:
            write_slice(tmp_path, k, truth[k])

    volume = load_dicom_series(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert any('1 missing slices' in text for text in volume.warnings)


def test_many_missing_slices_are_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k in range(SLICES):
        if k not in (8, 9, 10):
            write_slice(tmp_path, k, truth[k])

    with pytest.raises(SeriesError, match='3 slices are missing.*-86.0 and'):
        load_dicom_series(tmp_path)


def test_localizer_is_left_out(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)

    def scout(data: FileDataset) -> None:
        data.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER']
        data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write_slice(tmp_path, 3, truth[3], name='scout.dcm', edit=scout)

    np.testing.assert_array_equal(load_dicom_series(tmp_path).array, truth)


def test_tilted_gantry_is_undone(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    # a body linear along rows; slices move 1 voxel (0.8 mm) a step: 21.8 deg
    rows = -1000 + 20.0 * np.arange(ROWS)[:, None] + np.zeros((1, COLUMNS))

    def tilt(k: int) -> Callable[[FileDataset], None]:
        def edit(data: FileDataset) -> None:
            data.ImagePositionPatient = [-10, 5 + 0.8 * k, -100 + STEP * k]

        return edit

    for k in range(10):
        write_slice(tmp_path, k, rows + 20 * k, edit=tilt(k))

    volume = load_dicom_series(tmp_path)

    # on a straight grid the body is the same in every slice, off the edges
    for k in range(10):
        np.testing.assert_allclose(volume.array[k, k:], rows[k:], atol=0.5)
    assert any('tilted by 21.8' in text for text in volume.warnings)


def test_changing_spacing_is_resampled(
    tmp_path: Path, truth: np.ndarray
) -> None:
    zs = [2.0 * k if k < 10 else 20 + 3.0 * (k - 10) for k in range(SLICES)]
    for k, z in enumerate(zs):
        write_slice(tmp_path, k, truth[0] + int(10 * z), z=z)

    volume = load_dicom_series(tmp_path)

    assert any('spacing varies' in text for text in volume.warnings)
    places = volume.geometry.origin[2] + volume.geometry.spacing[
        0
    ] * np.arange(len(volume.array))
    for z, plane in zip(places, volume.array):
        np.testing.assert_allclose(plane, truth[0] + 10 * z, atol=1)


def test_rescale_differs_by_slice(tmp_path: Path, truth: np.ndarray) -> None:
    for k, plane in enumerate(truth):

        def edit(data: FileDataset, k: int = k) -> None:
            data.RescaleSlope, data.RescaleIntercept = 0.5, -1024 - k

        write_slice(tmp_path, k, plane, edit=edit)

    np.testing.assert_array_equal(load_dicom_series(tmp_path).array, truth)


def drop_rescale(data: FileDataset) -> None:
    del data.RescaleSlope, data.RescaleIntercept


def test_missing_rescale(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth, edit=drop_rescale)

    with pytest.raises(SeriesError, match='--hu-offset'):
        load_dicom_series(tmp_path)

    volume = load_dicom_series(tmp_path, hu_offset=-1024)
    np.testing.assert_array_equal(volume.array, truth)


def test_rescale_missing_on_one_slice_is_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 4, truth[4], edit=drop_rescale)

    with pytest.raises(SeriesError, match='1 slices lack.*095.dcm'):
        load_dicom_series(tmp_path)


def test_compressed_slices_are_decoded(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless)
        data.save_as(path)

    np.testing.assert_array_equal(load_dicom_series(tmp_path).array, truth)


def test_cut_pixels_are_refused(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    path = tmp_path / '095.dcm'
    data = pydicom.dcmread(path)
    data.PixelData = data.PixelData[:100]
    data.save_as(path)

    with pytest.raises(SeriesError, match='095.dcm.*100 bytes'):
        load_dicom_series(tmp_path)


def test_several_series_are_chosen_aloud(
    tmp_path: Path, truth: np.ndarray
) -> None:
    def thin(data: FileDataset) -> None:
        data.SliceThickness = 1.25

    write_series(tmp_path, truth)
    for k, plane in enumerate(truth):
        write_slice(
            tmp_path, k, plane + 7, name=f'b{k}.dcm', series='9.9', edit=thin
        )

    volume = load_dicom_series(tmp_path)

    assert volume.series_uid == '9.9'
    assert any('took 9.9' in text for text in volume.warnings)
    assert len(list_series(tmp_path)) == 2
    named = load_dicom_series(tmp_path, series_uid='1.2.3')
    np.testing.assert_array_equal(named.array, truth)
    with pytest.raises(SeriesError, match='no series 4.4'):
        load_dicom_series(tmp_path, series_uid='4.4')


def test_folder_without_ct(tmp_path: Path, truth: np.ndarray) -> None:
    (tmp_path / 'a.txt').write_text('x')
    write_slice(
        tmp_path,
        0,
        truth[0],
        edit=lambda d: setattr(d, 'SOPClassUID', '1.2.840.10008.5.1.4.1.1.4'),
    )

    with pytest.raises(SeriesError, match='no CT series.*2 files'):
        load_dicom_series(tmp_path)


@pytest.mark.slow
def test_real_series_agrees_with_simpleitk(test_data: Path) -> None:
    (folder,) = (test_data / 'luna16-mini' / 'subset1-dicom').iterdir()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()

    volume = load_dicom_series(folder)

    np.testing.assert_array_equal(
        volume.array, sitk.GetArrayViewFromImage(image)
    )
    np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin())
    np.testing.assert_allclose(
        volume.geometry.spacing[::-1], image.GetSpacing()
    )
