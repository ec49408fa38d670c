from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io import limits
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


def write_tilted(
    folder: Path,
    planes: np.ndarray,
    *,
    lean: tuple[float, float] = (0.0, 4.0),
    right: float = 1.0,
) -> None:
    """Slices 10 mm apart, each ``lean`` mm in x and y beside the last one."""
    for k, plane in enumerate(planes):
        tags = {
            'ImagePositionPatient': [
                -10 + lean[0] * k,
                5 + lean[1] * k,
                -100 + 10.0 * k,
            ],
            'ImageOrientationPatient': [right, 0, 0, 0, 1, 0],
        }
        write_slice(folder, k, plane, edit=labelled(**tags))


def test_tilted_gantry_is_undone(tmp_path: Path) -> None:
    # a body linear along y; slices 10 mm apart move 1 voxel (4 mm) a step
    body = -1000 + 20.0 * np.arange(ROWS + 9)
    steps = np.arange(10)[:, None] + np.arange(ROWS)
    write_tilted(tmp_path, np.repeat(body[steps][..., None], COLUMNS, 2))

    volume = load_volume(tmp_path)

    # on a straight grid the body is the same in every slice, and each slice
    # has its 16 rows of the 16 + 9, with air before and after
    assert volume.array.shape == (10, ROWS + 9, COLUMNS)
    for k, plane in enumerate(volume.array):
        rows = np.full(ROWS + 9, -1000.0)
        rows[k : k + ROWS] = body[k : k + ROWS]
        np.testing.assert_array_equal(plane.T, np.tile(rows, (COLUMNS, 1)))
    assert any('tilted by 21.8' in text for text in volume.caveats)


@pytest.mark.parametrize('right', [1.0, -1.0])  # -1: read from the head down
@pytest.mark.parametrize('lean', [(-1.3, 4.4), (2.1, -3.7), (0.0, -5.5)])
@pytest.mark.parametrize('k', [0, 9])
@pytest.mark.parametrize(
    ('row', 'column'), [(0, 0), (ROWS - 1, COLUMNS - 1), (0, COLUMNS - 1)]
)
def test_a_corner_of_a_tilted_scan_is_kept_where_it_was(
    tmp_path: Path,
    right: float,
    lean: tuple[float, float],
    k: int,
    row: int,
    column: int,
) -> None:
    planes = np.full((10, ROWS, COLUMNS), -1000.0)
    planes[k, row, column] = 1000
    planes[4, 7, 9] = -970  # else nothing but air in the sample
    write_tilted(tmp_path, planes, lean=lean, right=right)

    volume = load_volume(tmp_path)

    above = volume.array[[0, -1]].astype(float) + 1000
    index = np.argwhere(above > 0)
    weights = above[above > 0]
    index[:, 0] *= len(volume.array) - 1
    middle = weights @ volume.geometry.to_world(index) / weights.sum()
    # the voxel is still whole, and its centre where its own header says; the
    # spacing is 4 mm along rows and 3.5 along columns
    assert weights.sum() == pytest.approx(2000, abs=2)
    x = -10 + lean[0] * k + right * 3.5 * column
    y = 5 + lean[1] * k + 4.0 * row
    np.testing.assert_allclose(middle, [x, y, -100 + 10 * k], atol=0.01)


def test_planes_between_tilted_slices_hold_them_too(tmp_path: Path) -> None:
    planes = np.full((30, ROWS, COLUMNS), -1000.0)
    planes[-1, -1, 5] = 1000
    write_tilted(tmp_path, planes)
    (tmp_path / '090.dcm').unlink()

    volume = load_volume(tmp_path)

    assert volume.array.shape == (30, ROWS + 29, COLUMNS)
    assert volume.array[-1, -1, 5] == 1000
    (point,) = volume.geometry.to_world([[29, ROWS + 28, 5]])
    np.testing.assert_allclose(point, [-10 + 17.5, 5 + 44 * 4, 190])


def test_memory_of_the_enlarged_grid_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, 'MAX_VOXELS', 10 * ROWS * COLUMNS)
    write_tilted(tmp_path, np.full((10, ROWS, COLUMNS), -1000.0))

    with pytest.raises(SeriesError, match='claims 10x25x24 voxels'):
        load_volume(tmp_path)


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
