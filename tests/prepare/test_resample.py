from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.geometry import Geometry, isotropic_geometry
from lungdet.prepare.lung_field import LungField
from lungdet.prepare.resample import resample_linear, resample_lungs


def tilted_grid() -> Geometry:
    return Geometry.from_parts(
        (6, 9, 11),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-3, 4, 5),
        direction=[[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]],
    )


def by_simpleitk(
    array: np.ndarray, source: Geometry, target: Geometry
) -> np.ndarray:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(source.spacing[::-1].tolist())
    image.SetOrigin(source.origin.tolist())
    image.SetDirection(source.direction.ravel().tolist())
    size = [int(n) for n in target.shape[::-1]]
    moved = sitk.Resample(
        image,
        size,
        sitk.Transform(),
        sitk.sitkLinear,
        target.origin.tolist(),
        target.spacing[::-1].tolist(),
        target.direction.ravel().tolist(),
        -5000.0,
    )
    return sitk.GetArrayFromImage(moved)


@pytest.mark.parametrize('spacing', [1.0, 0.6, 1.7])
def test_linear_is_simpleitk_rounded(
    rng: np.random.Generator, spacing: float
) -> None:
    source = tilted_grid()
    array = rng.integers(-1024, 3072, source.shape).astype(np.int16)
    target = isotropic_geometry(source, spacing)
    wanted = by_simpleitk(array, source, target)
    inside = wanted > -5000

    resampled = resample_linear(array, source, target)

    # a sum in another order may fall on the other side of a half
    tie = np.abs(wanted - np.floor(wanted) - 0.5) < 2e-3
    np.testing.assert_array_equal(
        resampled[inside & ~tie], np.rint(wanted)[inside & ~tie]
    )
    assert np.abs(resampled[inside] - wanted[inside]).max() < 0.51
    assert inside.mean() > 0.6 and tie.mean() < 0.02


def test_linear_is_the_literal_sum_of_eight(
    rng: np.random.Generator,
) -> None:
    source = tilted_grid()
    array = rng.integers(-3024, 6000, source.shape).astype(np.int16)
    target = isotropic_geometry(source, 1.1).crop((1, 2, 3), (9, 4, 5))
    held = np.clip(array, -1024, 3071).astype(np.float64)
    wanted = np.zeros(target.shape)
    for index in np.ndindex(*target.shape):
        at = source.to_index(target.to_world(np.array([index])))[0]
        at = np.clip(at, 0, np.array(source.shape) - 1)
        low = np.minimum(at.astype(int), np.array(source.shape) - 2)
        for corner in np.ndindex(2, 2, 2):
            weight = np.where(corner, at - low, 1 - (at - low)).prod()
            wanted[index] += weight * held[tuple(low + corner)]

    resampled = resample_linear(array, source, target)

    assert np.abs(resampled - wanted).max() < 0.501
    assert resampled.dtype == np.int16


def test_lungs_are_the_nearest_voxel_and_the_even_one_of_two() -> None:
    """0.5 mm to 1 mm: slices at .5, 2.5 and 4.5 of the mask."""
    source = Geometry.from_parts(
        (6, 1, 1), spacing_zyx=(0.5, 1, 1), origin_xyz=(0, 0, 0)
    )
    mask = np.array([1, 0, 0, 1, 1, 0], dtype=bool).reshape(6, 1, 1)
    target = isotropic_geometry(source, 1.0)

    lungs = resample_lungs(LungField(mask, source, 'given'), target)

    assert lungs.dtype == np.uint8
    assert lungs.ravel().tolist() == [1, 0, 1]


def test_resampling_turns_with_the_scan(rng: np.random.Generator) -> None:
    source = Geometry.from_parts(
        (6, 10, 15), spacing_zyx=(2.5, 0.8, 0.6), origin_xyz=(1, 2, 3)
    )  # every axis fills whole millimetres, so both grids mirror exactly
    array = rng.integers(-1000, 1000, source.shape).astype(np.int16)
    straight = resample_linear(array, source, isotropic_geometry(source, 1.0))
    for axis in range(3):
        turned = source.flip(axis)
        resampled = resample_linear(
            np.flip(array, axis), turned, isotropic_geometry(turned, 1.0)
        )
        gap = np.abs(np.flip(resampled, axis).astype(int) - straight)
        assert gap.max() <= 1 and (gap > 0).mean() < 0.02
