from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    SLICES,
    labelled,
    without,
    write_series,
    write_slice,
)


def test_duplicate_slice_is_left_out(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 7, truth[7], name='copy.dcm')

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert any('1 duplicate' in text for text in volume.caveats)


def test_two_images_at_one_position_are_refused(
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


@pytest.mark.parametrize('tag', ['AcquisitionNumber', 'AcquisitionTime'])
@pytest.mark.parametrize(
    ('first', 'last', 'taken'),
    [
        (range(0, 10), range(0, SLICES), True),  # a scan begun again
        (range(0, SLICES), range(0, 10), False),
        (range(0, 15), range(14, SLICES), False),  # two halves that meet
    ],
)
def test_last_acquisition_must_cover_every_position(
    tmp_path: Path,
    truth: np.ndarray,
    tag: str,
    first: range,
    last: range,
    taken: bool,
) -> None:
    for number, positions in ((1, first), (2, last)):
        for k in positions:
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


def test_few_slices_are_no_volume(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth[:7])

    with pytest.raises(
        SeriesError, match=': 7 slices, fewer than a volume has'
    ):
        load_volume(tmp_path)
