from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from lungdet.errors import SeriesError
from lungdet.io.dicom_series import list_series
from lungdet.io.image import load_volume
from tests.dicom_series import (
    PIXEL,
    STEP,
    labelled,
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


def test_localizer_is_left_out(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)

    def scout(data: FileDataset) -> None:
        data.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER']
        data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write_slice(tmp_path, 3, truth[3], name='scout.dcm', edit=scout)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


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


@pytest.mark.parametrize(
    ('name', 'wanted'),
    [('LIDC-1', 'LIDC-1'), ('Anonymous', None), ('', None)],
)
def test_patient_is_read_unless_it_is_nobody(
    tmp_path: Path, truth: np.ndarray, name: str, wanted: str | None
) -> None:
    write_series(tmp_path, truth, edit=labelled(PatientID=name))

    assert load_volume(tmp_path).patient_id == wanted


@pytest.mark.parametrize(
    ('tag', 'what'),
    [
        ('PatientID', 'patients'),
        ('PatientName', 'patients'),
        ('StudyInstanceUID', 'examinations'),
    ],
)
def test_two_patients_in_one_series_are_not_stacked(
    tmp_path: Path, truth: np.ndarray, tag: str, what: str
) -> None:
    for k, plane in enumerate(truth):
        value = '1.2' if k < 13 else '1.3'
        write_slice(tmp_path, k, plane, edit=labelled(**{tag: value}))

    with pytest.raises(SeriesError, match=f'slices of 2 {what}'):
        load_volume(tmp_path)


def test_linked_slices_are_read_and_litter_is_not(
    tmp_path: Path, truth: np.ndarray
) -> None:
    cache, folder = tmp_path / 'cache', tmp_path / 'scan'
    cache.mkdir()
    folder.mkdir()
    write_series(cache, truth)
    for path in cache.iterdir():
        (folder / path.name).symlink_to(path)
        (folder / f'._{path.name}').write_bytes(b'\0\5\x16\7')
    (folder / '.DS_Store').write_bytes(b'x')
    os.mkfifo(folder / 'pipe')

    volume = load_volume(folder)

    np.testing.assert_array_equal(volume.array, truth)
    assert volume.caveats == []
    (cache / '090.dcm').unlink()
    with pytest.raises(SeriesError, match='090.dcm: no such file'):
        load_volume(folder)


@pytest.mark.parametrize('change', ['removed', 'no slice', 'other series'])
def test_files_that_changed_since_they_were_listed_are_refused(
    tmp_path: Path, truth: np.ndarray, change: str
) -> None:
    write_series(tmp_path, truth)
    (summary,) = list_series(tmp_path)
    (tmp_path / 'cut.dcm').write_bytes(bytes(128) + b'DICM' + b'\xff' * 300)

    volume = load_volume(tmp_path, files=summary.files)

    np.testing.assert_array_equal(volume.array, truth)
    if change == 'removed':
        (tmp_path / '090.dcm').unlink()
    elif change == 'no slice':
        (tmp_path / '090.dcm').write_text('-')
    else:
        write_slice(tmp_path, 9, truth[9], series='7.7')
    with pytest.raises(SeriesError, match='after they had been|no such file'):
        load_volume(tmp_path, files=summary.files, series_uid='1.2.3')


def nested(depth: int) -> bytes:
    """A sequence in a sequence in a ..., of undefined lengths."""
    item = b'\xfe\xff\x00\xe0\xff\xff\xff\xff'
    return (b'\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff' + item) * depth


def deep(content: bytes) -> bytes:
    at = content.index(b'\x20\x00\x0e\x00UI')
    return content[:at] + nested(500) + content[at:]


def odd_type(content: bytes) -> bytes:
    at = content.index(b'\x20\x00\x0e\x00UI')  # of the SeriesInstanceUID
    return content[: at + 4] + b'ZZ' + content[at + 6 :]


@pytest.mark.parametrize(
    'damage',
    [
        deep,
        odd_type,
        lambda content: content.replace(b'1.2.3\0', b'1\0003\0\0'),
        lambda content: content[:300],
        lambda content: content[:140] + bytes([255]) * 400,
    ],
)
def test_any_damage_of_a_file_is_an_error_that_names_it(
    tmp_path: Path, truth: np.ndarray, damage: Callable
) -> None:
    write_series(tmp_path, truth)
    path = tmp_path / '090.dcm'
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(SeriesError, match=r'090\.dcm'):
        load_volume(tmp_path)


def test_an_unreadable_file_is_named(
    tmp_path: Path, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path, truth)

    def refuse(file: Path, *args: object, **options: object) -> object:
        if str(file).endswith('090.dcm'):
            raise PermissionError(13, 'Permission denied', str(file))
        return genuine(file, *args, **options)

    genuine = open
    monkeypatch.setattr('builtins.open', refuse)

    with pytest.raises(SeriesError, match=r'090\.dcm: permission denied'):
        load_volume(tmp_path)
