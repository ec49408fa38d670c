from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    COLUMNS,
    ROWS,
    SLICES,
    labelled,
    raw_text,
    write_frames,
    write_series,
    write_slice,
)


@pytest.mark.parametrize(
    ('tag', 'text', 'reason'),
    [
        ('RescaleIntercept', '-102,40 ', 'RescaleIntercept cannot be read'),
        ('AcquisitionNumber', 'x ', 'AcquisitionNumber cannot be read'),
        ('PixelSpacing', '4.0 ', 'PixelSpacing cannot be read'),
        ('ImagePositionPatient', '1\\2\\x ', 'PositionPatient cannot be'),
        ('SliceThickness', '2,5 ', 'SliceThickness cannot be read'),
        ('NumberOfFrames', '2 ', 'NumberOfFrames is 2'),
    ],
)
def test_unreadable_tag_is_named_with_its_file(
    tmp_path: Path, truth: np.ndarray, tag: str, text: str, reason: str
) -> None:
    write_series(
        tmp_path, truth, edit=labelled(AcquisitionNumber=1, NumberOfFrames=1)
    )
    raw_text(tmp_path / '095.dcm', tag, text)

    with pytest.raises(SeriesError, match=f'095.dcm: .*{reason}'):
        load_volume(tmp_path)


@pytest.mark.parametrize(
    'tag',
    [
        'Rows',
        'SeriesInstanceUID',
        'ImagePositionPatient',
        'ImageOrientationPatient',
        'PixelSpacing',
    ],
)
def test_missing_tag_is_named_with_its_file(
    tmp_path: Path, truth: np.ndarray, tag: str
) -> None:
    write_series(tmp_path, truth)
    data = pydicom.dcmread(tmp_path / '095.dcm')
    delattr(data, tag)
    data.save_as(tmp_path / '095.dcm')

    with pytest.raises(SeriesError, match=f'095.dcm: {tag} is missing'):
        load_volume(tmp_path)


def test_index_of_a_disc_is_skipped(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    data = pydicom.dcmread(tmp_path / '095.dcm')
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.UID(
        '1.2.840.10008.1.3.10'
    )
    for tag in ('SOPClassUID', 'Modality', 'SeriesInstanceUID'):
        delattr(data, tag)
    data.save_as(tmp_path / 'DICOMDIR')

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert volume.caveats == [
        'files skipped: 1 Media Storage Directory Storage objects'
    ]


def test_other_modality_under_a_ct_class_is_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth, edit=labelled(Modality='MR'))

    with pytest.raises(SeriesError, match='no CT series .*26 MR objects'):
        load_volume(tmp_path)


@pytest.fixture
def singles(tmp_path: Path, truth: np.ndarray) -> list[Path]:
    folder = tmp_path / 'singles'
    folder.mkdir()
    write_series(folder, truth)
    return sorted(folder.iterdir(), reverse=True)  # z upwards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / 'frames'
    path.mkdir()
    return path


def test_frames_are_the_single_frame_series(
    folder: Path, singles: list[Path], rng: np.random.Generator
) -> None:
    write_frames(folder / 'ct.dcm', [singles[k] for k in rng.permutation(26)])

    volume = load_volume(folder)

    wanted = load_volume(singles[0].parent)
    np.testing.assert_array_equal(volume.array, wanted.array)
    np.testing.assert_allclose(volume.geometry.affine, wanted.geometry.affine)
    assert volume.series_uid == wanted.series_uid
    assert volume.caveats == []


def test_frames_agree_with_simpleitk(
    folder: Path, singles: list[Path]
) -> None:
    path = write_frames(folder / 'ct.dcm', singles)

    volume = load_volume(folder)

    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin())
    np.testing.assert_allclose(
        volume.geometry.spacing, image.GetSpacing()[::-1]
    )


def test_every_frame_has_its_own_rescale(
    folder: Path, tmp_path: Path, truth: np.ndarray
) -> None:
    def edit(data: pydicom.Dataset) -> None:
        data.RescaleSlope = 1 + int(data.InstanceNumber) % 3
        data.RescaleIntercept = -1100 - int(data.InstanceNumber)

    parts = [
        write_slice(tmp_path, k, plane, edit=edit)
        for k, plane in enumerate(truth)
    ]
    write_frames(folder / 'ct.dcm', parts)

    volume = load_volume(folder)

    assert np.abs(volume.array - truth).max() <= 1  # a slope of 3, rounded


def test_defects_name_frames_as_viewers_count_them(
    folder: Path, singles: list[Path]
) -> None:
    write_frames(folder / 'ct.dcm', [*singles[:9], *singles[10:], singles[3]])

    volume = load_volume(folder)

    assert len(volume.array) == SLICES
    text = ' '.join(volume.caveats)
    assert '1 duplicate slice left out: ct.dcm frame 26' in text
    assert 'ct.dcm frame 9 and ct.dcm frame 10' in text


def test_lossless_frames_are_decoded(
    folder: Path, singles: list[Path], truth: np.ndarray
) -> None:
    path = write_frames(folder / 'ct.dcm', singles)
    data = pydicom.dcmread(path)
    data.compress(pydicom.uid.RLELossless)
    data.save_as(path)

    volume = load_volume(folder)

    np.testing.assert_array_equal(volume.array, truth)


def test_frames_of_unknown_compression_are_refused(
    folder: Path, singles: list[Path]
) -> None:
    path = write_frames(folder / 'ct.dcm', singles)
    data = pydicom.dcmread(path)
    data.compress(pydicom.uid.RLELossless)
    data.file_meta.TransferSyntaxUID = '1.2.840.10008.1.2.4.201'
    data.save_as(path)

    with pytest.raises(SeriesError, match='syntax 1.2.840.10008.1.2.4.201'):
        load_volume(folder)


@pytest.mark.parametrize('count', [None, SLICES + 1])
def test_frames_that_are_not_described_are_refused(
    folder: Path, singles: list[Path], count: int | None
) -> None:
    def edit(data: pydicom.Dataset) -> None:
        data.NumberOfFrames = count

    write_frames(folder / 'ct.dcm', singles, edit=edit)

    with pytest.raises(SeriesError, match=f'NumberOfFrames is {count}, and'):
        load_volume(folder)


def test_cut_frames_are_refused(folder: Path, singles: list[Path]) -> None:
    def edit(data: pydicom.Dataset) -> None:
        data.PixelData = data.PixelData[: ROWS * COLUMNS * 2 * 20]

    write_frames(folder / 'ct.dcm', singles, edit=edit)

    with pytest.raises(SeriesError, match=r'ct\.dcm: pixels cannot be read'):
        load_volume(folder)


def test_two_files_without_uids_are_not_each_others_copies(
    folder: Path, singles: list[Path], truth: np.ndarray
) -> None:
    def edit(data: pydicom.Dataset) -> None:
        del data.SOPInstanceUID

    def other(data: pydicom.Dataset) -> None:
        edit(data)
        data.PixelData = (np.frombuffer(data.PixelData, '<u2') + 9).tobytes()

    write_frames(folder / 'a.dcm', singles, edit=edit)
    write_frames(folder / 'b.dcm', singles, edit=other)

    with pytest.raises(SeriesError, match='two different images'):
        load_volume(folder)


@pytest.mark.parametrize(
    'tag',
    [
        b'\x02\x00\x02\x00UI',  # MediaStorageSOPClassUID
        b'\x02\x00\x10\x00UI',  # TransferSyntaxUID
        b'\x08\x00\x16\x00UI',  # SOPClassUID
        b'\x08\x00\x08\x00CS',  # ImageType
        b'\x08\x00\x60\x00CS',  # Modality
    ],
)
def test_a_value_of_no_known_kind_is_named_with_its_file(
    tmp_path: Path, truth: np.ndarray, tag: bytes
) -> None:
    write_series(tmp_path, truth)
    path = tmp_path / '092.dcm'
    content = path.read_bytes()
    assert content.count(tag) == 1
    path.write_bytes(content.replace(tag, tag[:4] + b'Zz'))

    with pytest.raises(SeriesError, match='092.dcm: '):
        load_volume(tmp_path)


def test_a_length_that_fits_no_number_is_named_with_its_file(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    path = tmp_path / '092.dcm'
    content = bytearray(path.read_bytes())
    content[138] = 6  # bytes of the group length, a 32-bit number
    path.write_bytes(content)

    with pytest.raises(SeriesError, match='092.dcm: '):
        load_volume(tmp_path)
