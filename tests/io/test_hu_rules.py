from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, write_image
from tests.io.images import SHAPE, hu, write_meta


def test_values_without_their_offset_are_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = write_meta(tmp_path, (hu(rng) + 1024).tobytes())

    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(path)

    assert load_volume(path, hu_offset=-1024).array.min() == -1000


def test_other_bytes_under_a_type_do_not_pass_for_hu(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    shorts = (hu(rng) + 1024).tobytes()
    path = write_meta(tmp_path, shorts, ElementType='MET_USHORT')
    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(path)
    wide = np.ones(SHAPE, np.int32).tobytes()
    path = write_meta(tmp_path, wide, ElementType='MET_FLOAT')
    with pytest.raises(SeriesError, match='do not look like a chest'):
        load_volume(path)


@pytest.mark.parametrize('padding', [None, -1024, -2000, -32768])
@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda hu: hu + 1024, 'hu-offset'),
        (lambda hu: (hu + 1024) / 4095, r'scaled to 0\.\.1'),
        (lambda hu: (hu + 1000) / 1400 * 2 - 1, r'scaled to 0\.\.1'),
        (lambda hu: (hu + 1000) / 1400 * 255, 'grey values of 8 bits'),
        (lambda hu: hu * 10, 'HU times 10'),
        (lambda hu: hu / 10, 'no air among them'),
        (lambda hu: np.clip(hu, -160, 240), 'no air among them'),
    ],
)
def test_values_of_another_scale_are_refused_under_any_padding(
    tmp_path: Path,
    rng: np.random.Generator,
    change: Callable,
    reason: str,
    padding: int | None,
) -> None:
    values = change(hu(rng).astype(np.float64))
    if padding is not None:
        values[:, :4] = padding
    path = write_meta(
        tmp_path, values.astype('<f4').tobytes(), ElementType='MET_FLOAT'
    )

    with pytest.raises(SeriesError, match=reason):
        load_volume(path)


@pytest.mark.parametrize('padding', [-1024, -2000, -3024, -32768])
def test_hu_with_padding_are_hu(
    tmp_path: Path, rng: np.random.Generator, padding: int
) -> None:
    array = hu(rng)
    array[:, :12] = padding  # most of the image
    path = write_meta(tmp_path, array.tobytes())

    volume = load_volume(path)

    np.testing.assert_array_equal(volume.array, array)
    assert not volume.caveats


@pytest.mark.parametrize('padding', [-2000, -3024])
def test_hu_whose_padding_was_interpolated_are_hu(
    tmp_path: Path, rng: np.random.Generator, padding: int
) -> None:
    """Turned by 10 degrees, as resampling to an oblique grid does: between
    the padding around the circle of view and air, all values occur."""
    size = 96
    y, x = np.indices((size, size)) - (size - 1) / 2
    radius = np.hypot(y, x)
    array = rng.normal(-1000, 10, (9, size, size))
    array[:, radius < 30] = rng.normal(40, 10, (9, (radius < 30).sum()))
    array[:, radius > size / 2] = padding
    turned = ndimage.rotate(
        array, 10, axes=(1, 2), order=1, cval=-1024
    ).astype(np.int16)
    between = (turned > padding) & (turned < -1500)
    assert 0 < between.mean() < 0.05 < (turned < -1500).mean()
    grid = Geometry.from_parts(
        turned.shape, spacing_zyx=(8, 2, 2), origin_xyz=(0, 0, 0)
    )
    write_image(tmp_path / 'a.mha', turned, grid)

    volume = load_volume(tmp_path / 'a.mha')

    np.testing.assert_array_equal(volume.array, turned)
    assert not volume.caveats


@pytest.mark.parametrize(
    ('bad', 'fraction', 'reason'),
    [
        (np.nan, 0.01, 'were not numbers'),
        (np.inf, 0.01, 'were not numbers'),
        (9e5, 0.01, 'exceed 16 bits'),
        (np.nan, 0.0005, 'were not numbers and became -1024'),
        (-np.inf, 0.0005, 'were not numbers and became -1024'),
        (-9e5, 0.0005, 'exceed 16 bits and became'),
    ],
)
@pytest.mark.parametrize('suffix', ['.mhd', '.nii', '.nii.gz', '.nrrd'])
def test_values_that_are_no_hu(
    tmp_path: Path,
    rng: np.random.Generator,
    suffix: str,
    bad: float,
    fraction: float,
    reason: str,
) -> None:
    array = hu(rng).astype(np.float64) + 0.4
    count = round(fraction * array.size)
    array.ravel()[-count:] = bad
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(5, 4, 3.5), origin_xyz=(-10, 20, -30)
    )
    path = tmp_path / f'x{suffix}'
    write_image(path, array, grid)

    if fraction > 0.001:
        with pytest.raises(SeriesError, match=reason):
            load_volume(path)
        return
    volume = load_volume(path)

    assert any(f'{count} voxels {reason}' in w for w in volume.caveats)
    np.testing.assert_array_equal(volume.array, literal_hu(array))


def literal_hu(array: np.ndarray) -> np.ndarray:
    """The literal rule: nearest whole number, -1024 for no number."""
    literal = [
        max(-32768, min(32767, round(v))) if np.isfinite(v) else -1024
        for v in array.ravel().tolist()
    ]
    return np.array(literal, dtype=np.int16).reshape(array.shape)


def test_offset_is_added_only_where_it_is_lacking(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    array = hu(rng)
    array[0, 0] = -2000  # padding says nothing about the rest
    path = write_meta(tmp_path, array.tobytes())

    volume = load_volume(path, hu_offset=-1024)

    np.testing.assert_array_equal(volume.array, array)
    assert any('are HU already' in text for text in volume.caveats)
    stored = np.where(array == -2000, -2000, array + 1024).astype(np.int16)
    path = write_meta(tmp_path, stored.tobytes())
    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(path)
    shifted = load_volume(path, hu_offset=-1024).array
    np.testing.assert_array_equal(shifted[1:], array[1:])


@pytest.mark.parametrize(('value', 'noise'), [(-1000, 0), (-1000, 8)])
def test_air_alone_is_no_chest(
    tmp_path: Path, rng: np.random.Generator, value: int, noise: int
) -> None:
    array = rng.normal(value, noise, SHAPE).astype(np.int16)

    with pytest.raises(SeriesError, match='those of air alone'):
        load_volume(write_meta(tmp_path, array.tobytes()))

    array[3, 4, 5] = 40
    load_volume(write_meta(tmp_path, array.tobytes()))


def test_wide_floats_take_little_memory(tmp_path: Path) -> None:
    shape = (64, 256, 256)
    array = np.full(shape, -900.0)
    array[0] = 40  # an image of one value is refused
    path = write_meta(
        tmp_path,
        array.tobytes(),
        ElementType='MET_DOUBLE',
        DimSize='256 256 64',
        ElementSpacing='1 1 1',
    )
    del array

    tracemalloc.start()
    load_volume(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # 8 bytes as stored, 2 as HU, and a few planes
    assert peak / np.prod(shape) < 11
