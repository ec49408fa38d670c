from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    COLUMNS,
    ROWS,
    SLICES,
    STEP,
    drop_rescale,
    labelled,
    write_series,
    write_slice,
)


def test_one_missing_slice_is_interpolated(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k in range(SLICES):
        if k != 8:
            write_slice(tmp_path, k, truth[k])

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, truth)
    assert any('1 missing slice was' in text for text in volume.caveats)


def test_many_missing_slices_are_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    for k in range(SLICES):
        if k not in (8, 9, 10):
            write_slice(tmp_path, k, truth[k])

    with pytest.raises(SeriesError, match='3 slices missing.*-86.0 and'):
        load_volume(tmp_path)


def test_image_beside_a_slice_is_no_missing_slice(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(
        tmp_path, 7, truth[7] + 50, name='near.dcm', z=-100 + STEP * 7 + 0.1
    )

    with pytest.raises(SeriesError, match='near.dcm 0.10 mm'):
        load_volume(tmp_path)


@pytest.mark.parametrize('lean', [0.0, 0.8])
@pytest.mark.parametrize('moved', [[3], list(range(13, SLICES))])
def test_slice_beside_the_others_is_refused(
    tmp_path: Path, truth: np.ndarray, lean: float, moved: list
) -> None:
    for k, plane in enumerate(truth):
        x = -10 + 50.0 * (k in moved)
        position = [x, 5 + lean * k, -100 + STEP * k]
        write_slice(
            tmp_path, k, plane, edit=labelled(ImagePositionPatient=position)
        )

    with pytest.raises(SeriesError, match='beside the line of the other'):
        load_volume(tmp_path)


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


def test_strong_tilt_is_refused(tmp_path: Path, truth: np.ndarray) -> None:
    for k, plane in enumerate(truth):
        position = [-10, 5 + STEP * k, -100 + STEP * k]
        write_slice(
            tmp_path, k, plane, edit=labelled(ImagePositionPatient=position)
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


@pytest.mark.parametrize('second', [3.0, 4.0])  # twice is no gap either
def test_changing_spacing_is_resampled(
    tmp_path: Path, truth: np.ndarray, second: float
) -> None:
    zs = [2.0 * k if k < 10 else 20 + second * (k - 10) for k in range(SLICES)]
    for k, z in enumerate(zs):
        write_slice(tmp_path, k, truth[0] + int(10 * z), z=z)

    volume = load_volume(tmp_path)

    assert any('spacing varies' in text for text in volume.caveats)
    heights = volume.geometry.origin[2] + volume.geometry.spacing[
        0
    ] * np.arange(len(volume.array))
    for z, plane in zip(heights, volume.array):
        np.testing.assert_allclose(plane, truth[0] + 10 * z, atol=1)


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


def test_rescale_missing_on_one_slice_is_refused(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 4, truth[4], edit=drop_rescale)

    with pytest.raises(SeriesError, match='1 slice without .*095.dcm'):
        load_volume(tmp_path)


def test_slope_of_zero_is_refused(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    write_slice(tmp_path, 4, truth[4], edit=labelled(RescaleSlope=0))

    with pytest.raises(SeriesError, match='095.dcm: RescaleSlope is 0'):
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
