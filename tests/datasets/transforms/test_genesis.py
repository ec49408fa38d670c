from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lungdet.datasets import NonLinearIntensity, RepeatedFlip3D
from lungdet.datasets.transforms.genesis import CurveParams, bezier_curve
from lungdet.datasets.transforms.spatial import FlipParams
from tests.datasets.transforms.draws import (
    VECTORS,
    assert_rate,
    crop_sample,
    draws,
)


def test_flips_are_drawn_as_published() -> None:
    drawn = [params.axes for params in draws(RepeatedFlip3D())]

    number = Counter(map(len, drawn))
    for num, rate in ((0, 0.6), (1, 0.24), (2, 0.096), (3, 0.064)):
        assert_rate(number[num], rate)
    axes = Counter(axis for flips in drawn for axis in flips)
    total = axes.total()
    assert set(axes) == {0, 1, 2}
    for axis in range(3):
        assert_rate(axes[axis], 1 / 3, total)


def test_flip_turns_image_target_and_affine_together(crop: np.ndarray) -> None:
    before = {**crop_sample(crop), 'in_lungs': crop > 0.5}
    world = before['geometry'].to_world(np.array([[3.0, 4, 5]]))

    after = RepeatedFlip3D().apply(before, FlipParams((2, 0, 2)))

    # twice along x cancels; z: voxel 3 of 32 is now voxel 28
    np.testing.assert_array_equal(after['target'], crop[::-1])
    np.testing.assert_array_equal(after['image'], after['target'])
    np.testing.assert_array_equal(after['in_lungs'], crop[::-1] > 0.5)
    np.testing.assert_allclose(
        after['geometry'].to_world(np.array([[28.0, 4, 5]])), world
    )


def test_intensity_is_drawn_as_published() -> None:
    curves = [p for p in draws(NonLinearIntensity()) if p.inner is not None]

    assert_rate(len(curves), 0.9)
    assert_rate(sum(p.decreasing for p in curves), 0.5, len(curves))
    inner = np.array([p.inner for p in curves])
    assert inner.min() >= 0 and inner.max() <= 1
    np.testing.assert_allclose(inner.mean(0), 0.5, atol=4.5 * 0.289 / 42)


def test_bezier_curve_has_the_vectors_values() -> None:
    vector = VECTORS['bezier']
    inner = np.array(vector['points'][1:3])

    for name, decreasing in (('increasing', False), ('decreasing', True)):
        x, y = bezier_curve(inner, decreasing)
        np.testing.assert_allclose(
            np.interp(vector['x'], x, y),
            vector[name],
            atol=vector['tolerance_for_1000_samples'],
        )


@pytest.mark.parametrize('decreasing', [False, True])
def test_lookup_is_the_curve_to_half_a_step(
    crop: np.ndarray, decreasing: bool
) -> None:
    inner = ((0.2, 0.9), (0.7, 0.3))
    crop[0, 0, :2] = 0.0, 1.0

    out = NonLinearIntensity().apply(
        crop_sample(crop), CurveParams(inner, decreasing)
    )['image']

    x, y = bezier_curve(np.array(inner), decreasing, samples=100_000)
    steepest = np.abs(np.diff(y) / np.diff(x)).max()
    wanted = np.interp(crop, x, y)
    np.testing.assert_allclose(out, wanted, atol=steepest * 0.5 / 4095 + 1e-5)
    assert out[0, 0, 0] == float(decreasing)
    assert out[0, 0, 1] == float(not decreasing)
    assert out.dtype == np.float32
