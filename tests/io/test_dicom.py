from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset

from lungdet.errors import SeriesError
from lungdet.io.dicom_series import list_series
from lungdet.io.image import load_volume
from tests.dicom_series import (
    COLUMNS,
    PIXEL,
    ROWS,
    SLICES,
    STEP,
    write_series,
    write_slice,
)


def test_sound_series_with_strays(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    (tmp_path / 'notes.xml').write_text('<a/>')

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    np.testing.assert_allclose(volume.geometry.origin, (-10, 5, -100))
    np.testing.assert_allclose(volume.geometry.spacing, (STEP, *PIXEL))
    assert volume.series_uid == '1.2.3'
    assert any('1 not DICOM' in text for text in volume.caveats)


def test_duplicate_slice_is_left_out(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 7, truth[7], name='copy.dcm')

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert any('1 duplicate' in text for text in volume.caveats)


def test_two_images_at_one_place_are_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 7, truth[7] + 5, name='other.dcm')

    with pytest.raises(SeriesError, match='two different images'):
        load_volume(tmp_path)


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

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth + 2)
    assert any('2 acquisitions' in text for text in volume.caveats)


def test_one_missing_slice_is_interpolated(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k in range(SLICES):
        if k != 8:
            write_slice(tmp_path, k, truth[k])

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert any('1 missing slices' in text for text in volume.caveats)


def test_many_missing_slices_are_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k in range(SLICES):
        if k not in (8, 9, 10):
            write_slice(tmp_path, k, truth[k])

    with pytest.raises(SeriesError, match='3 slices are missing.*-86.0 and'):
        load_volume(tmp_path)


def test_localizer_is_left_out(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)

    def scout(data: FileDataset) -> None:
        data.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER']
        data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write_slice(tmp_path, 3, truth[3], name='scout.dcm', edit=scout)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_tilted_gantry_is_undone(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    # a body linear along rows; slices 10 mm apart move 1 voxel (4 mm) a step
    rows = -1000 + 20.0 * np.arange(ROWS)[:, None] + np.zeros((1, COLUMNS))

    def tilt(k: int) -> Callable[[FileDataset], None]:
        def edit(data: FileDataset) -> None:
            data.ImagePositionPatient = [-10, 5 + 4.0 * k, -100 + 10.0 * k]

        return edit

    for k in range(10):
        write_slice(tmp_path, k, rows + 20 * k, edit=tilt(k))

    volume = load_volume(tmp_path)

    # on a straight grid the body is the same in every slice, off the edges
    for k in range(10):
        np.testing.assert_allclose(volume.array[k, k:], rows[k:], atol=0.5)
    assert any('tilted by 21.8' in text for text in volume.caveats)


@pytest.mark.parametrize('second', [3.0, 4.0])  # twice is no gap either
def test_changing_spacing_is_resampled(
    tmp_path: Path, truth: np.ndarray, second: float
) -> None:
    zs = [2.0 * k if k < 10 else 20 + second * (k - 10) for k in range(SLICES)]
    for k, z in enumerate(zs):
        write_slice(tmp_path, k, truth[0] + int(10 * z), z=z)

    volume = load_volume(tmp_path)

    assert any('spacing varies' in text for text in volume.caveats)
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

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def drop_rescale(data: FileDataset) -> None:
    del data.RescaleSlope, data.RescaleIntercept


def test_missing_rescale(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth, edit=drop_rescale)

    with pytest.raises(SeriesError, match='--hu-offset'):
        load_volume(tmp_path)

    volume = load_volume(tmp_path, hu_offset=-1024)
    np.testing.assert_array_equal(volume.array, truth)


def test_rescale_missing_on_one_slice_is_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 4, truth[4], edit=drop_rescale)

    with pytest.raises(SeriesError, match='1 slices lack.*095.dcm'):
        load_volume(tmp_path)


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

    volume = load_volume(tmp_path)

    assert volume.series_uid == '9.9'
    assert any('took 9.9' in text for text in volume.caveats)
    assert len(list_series(tmp_path)) == 2
    named = load_volume(tmp_path, series_uid='1.2.3')
    np.testing.assert_array_equal(named.array, truth)
    with pytest.raises(SeriesError, match='no series 4.4'):
        load_volume(tmp_path, series_uid='4.4')


def test_folder_without_ct(tmp_path: Path, truth: np.ndarray) -> None:
    (tmp_path / 'a.txt').write_text('x')
    write_slice(
        tmp_path,
        0,
        truth[0],
        edit=lambda d: setattr(d, 'SOPClassUID', '1.2.840.10008.5.1.4.1.1.4'),
    )

    with pytest.raises(SeriesError, match='no CT series.*2 files'):
        load_volume(tmp_path)


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


def labelled(**tags: object) -> Callable[[FileDataset], None]:
    def edit(data: FileDataset) -> None:
        for tag, value in tags.items():
            setattr(data, tag, value)

    return edit


def without(*tags: str) -> Callable[[FileDataset], None]:
    def edit(data: FileDataset) -> None:
        for tag in tags:
            delattr(data, tag)

    return edit


def raw_text(path: Path, tag: str, text: str) -> None:
    """Put text into a number, as scanners and scripts have done."""
    data = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        element = data[tag]
        data[tag] = pydicom.dataelem.RawDataElement(
            element.tag, element.VR, len(text), text.encode(), 0, False, True
        )
        data.save_as(path)


@pytest.mark.parametrize('tag', ['AcquisitionNumber', 'AcquisitionTime'])
@pytest.mark.parametrize(
    ('first', 'last', 'taken'),
    [
        (range(0, 10), range(0, SLICES), True),  # a scan begun again
        (range(0, SLICES), range(0, 10), False),
        (range(0, 15), range(14, SLICES), False),  # two halves that meet
    ],
)
def test_last_acquisition_must_cover_every_place(
    tmp_path: Path,
    truth: np.ndarray,
    tag: str,
    first: range,
    last: range,
    taken: bool,
) -> None:
    for number, places in ((1, first), (2, last)):
        for k in places:
            write_slice(
                tmp_path,
                k,
                truth[k] + number,
                name=f'{number}_{k}.dcm',
                edit=labelled(**{tag: f'12000{number}'}),
            )

    if not taken:
        with pytest.raises(SeriesError, match='two different images at one'):
            load_volume(tmp_path)
        return
    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth + 2)
    assert any('2 acquisitions' in text for text in volume.caveats)


def test_image_beside_a_slice_is_no_missing_slice(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(
        tmp_path, 7, truth[7] + 50, name='near.dcm', z=-100 + STEP * 7 + 0.1
    )

    with pytest.raises(SeriesError, match='near.dcm 0.10 mm'):
        load_volume(tmp_path)


def test_absent_uids_make_no_duplicates(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth, edit=without('SOPInstanceUID'))
    write_slice(
        tmp_path,
        7,
        truth[7] + 5,
        name='other.dcm',
        edit=without('SOPInstanceUID'),
    )

    with pytest.raises(
        SeriesError, match='092.dcm and other.dcm are two.*-86.0 mm'
    ):
        load_volume(tmp_path)


def test_equal_pixels_of_another_rescale_are_another_image(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(
        tmp_path,
        7,
        truth[7] + 100,
        name='other.dcm',
        edit=labelled(RescaleIntercept=-924),
    )

    with pytest.raises(SeriesError, match='two different images'):
        load_volume(tmp_path)


@pytest.mark.parametrize('lean', [0.0, 0.8])
@pytest.mark.parametrize('moved', [[3], list(range(13, SLICES))])
def test_slice_beside_the_others_is_refused(
    tmp_path: Path, truth: np.ndarray, lean: float, moved: list
) -> None:
    for k, plane in enumerate(truth):
        x = -10 + 50.0 * (k in moved)
        place = [x, 5 + lean * k, -100 + STEP * k]
        write_slice(
            tmp_path, k, plane, edit=labelled(ImagePositionPatient=place)
        )

    with pytest.raises(SeriesError, match='beside the line of the other'):
        load_volume(tmp_path)


def test_strong_tilt_is_refused(tmp_path: Path, truth: np.ndarray) -> None:
    for k, plane in enumerate(truth):
        place = [-10, 5 + STEP * k, -100 + STEP * k]
        write_slice(
            tmp_path, k, plane, edit=labelled(ImagePositionPatient=place)
        )

    with pytest.raises(SeriesError, match='tilted by 45 degrees'):
        load_volume(tmp_path)


def test_axes_that_are_not_square_are_named(
    tmp_path: Path, truth: np.ndarray
) -> None:
    sheared = labelled(ImageOrientationPatient=[1, 0, 0, 0.1, 1, 0])
    for k, plane in enumerate(truth):
        write_slice(tmp_path, k, plane, edit=sheared, series='5.6')

    with pytest.raises(SeriesError, match='series 5.6.*not orthonormal'):
        load_volume(tmp_path)


def test_slight_tilt_and_jitter_change_no_voxel(
    tmp_path: Path, truth: np.ndarray, rng: np.random.Generator
) -> None:
    for k, plane in enumerate(truth):
        z = -100 + STEP * k + rng.uniform(-0.009, 0.009)
        write_slice(
            tmp_path,
            k,
            plane,
            edit=labelled(ImagePositionPatient=[-10, 5 + 0.01 * k, z]),
        )

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert volume.caveats == []


def test_spacing_that_triples_is_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k, plane in enumerate(truth):
        z = 2.0 * k if k < 15 else 30 + 6.5 * (k - 15)
        write_slice(tmp_path, k, plane, z=z)

    with pytest.raises(SeriesError, match='2.00 mm .* 6.50 mm apart'):
        load_volume(tmp_path)


def test_interpolated_slices_are_named(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k in range(SLICES):
        if k != 8:
            write_slice(tmp_path, k, truth[k])

    (text,) = load_volume(tmp_path).caveats

    assert 'between -86.0 and -82.0 mm (092.dcm and 090.dcm)' in text


def test_slope_of_zero_is_refused(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 4, truth[4], edit=labelled(RescaleSlope=0))

    with pytest.raises(SeriesError, match='095.dcm: RescaleSlope is 0'):
        load_volume(tmp_path)


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


def test_cut_file_is_named_wherever_it_ends(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth[:10])
    path = tmp_path / '095.dcm'
    whole = path.read_bytes()
    for keep in range(140, len(whole), 41):
        path.write_bytes(whole[:keep])

        with pytest.raises(SeriesError, match='095.dcm'):
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


def test_stray_series_are_passed_over(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(  # thinner than the scan, and alone
        tmp_path,
        3,
        truth[3],
        name='thin.dcm',
        series='7.7',
        edit=labelled(SliceThickness=0.5),
    )
    write_slice(
        tmp_path,
        3,
        truth[3],
        name='colour.dcm',
        series='8.8',
        edit=labelled(PhotometricInterpretation='RGB'),
    )

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert any('3 series' in text for text in volume.caveats)
    with pytest.raises(SeriesError, match='colour.dcm: Photometric.* RGB'):
        load_volume(tmp_path, series_uid='8.8')


def test_stray_slice_of_the_series_is_named(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    for name, edit in (
        ('wide.dcm', labelled(PixelSpacing=[9, 9])),
        (  # a localizer that does not say so
            'side.dcm',
            labelled(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        ),
    ):
        write_slice(tmp_path, 4, truth[4], name=name, edit=edit)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    for name in ('wide.dcm', 'side.dcm'):
        assert any(f'left out: {name}' in text for text in volume.caveats)


def test_localizer_of_one_word_is_left_out(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(
        tmp_path,
        3,
        truth[3] + 9,
        name='scout.dcm',
        edit=labelled(ImageType='LOCALIZER'),
    )

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert volume.caveats == ['files skipped: 1 localizers']


def test_two_stacks_of_one_series_are_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    for k in range(6):
        write_slice(
            tmp_path,
            k,
            truth[k],
            name=f'b{k}.dcm',
            edit=labelled(PixelSpacing=[9, 9]),
        )

    with pytest.raises(SeriesError, match=r'two stacks \(26 and 6 slices'):
        load_volume(tmp_path)


def test_jitter_of_the_orientation_splits_no_series(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k, plane in enumerate(truth):
        tiny = 0.0004999 if k % 2 else 0.0005001  # rounds to 0 and to 0.001
        write_slice(
            tmp_path,
            k,
            plane,
            edit=labelled(ImageOrientationPatient=[1, tiny, 0, -tiny, 1, 0]),
        )

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_other_modality_under_a_ct_class_is_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth, edit=labelled(Modality='MR'))

    with pytest.raises(SeriesError, match='no CT series .*26 MR objects'):
        load_volume(tmp_path)


@pytest.mark.parametrize(
    ('kind', 'warns'), [('HU', False), ('US', False), ('OD', True)]
)
def test_rescale_of_another_scale_is_doubted(
    tmp_path: Path, truth: np.ndarray, kind: str, warns: bool
) -> None:
    write_series(tmp_path, truth, edit=labelled(RescaleType=kind))

    caveats = load_volume(tmp_path).caveats

    assert any(f'RescaleType is {kind}' in text for text in caveats) == warns


@pytest.mark.parametrize(
    ('name', 'wanted'),
    [('LIDC-1', 'LIDC-1'), ('Anonymous', None), ('', None)],
)
def test_patient_is_read_unless_it_is_nobody(
    tmp_path: Path, truth: np.ndarray, name: str, wanted: str | None
) -> None:
    write_series(tmp_path, truth, edit=labelled(PatientID=name))

    assert load_volume(tmp_path).patient_id == wanted


def test_few_slices_are_no_volume(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth[:7])

    with pytest.raises(SeriesError, match='7 slices are no volume'):
        load_volume(tmp_path)
