from __future__ import annotations

import numpy as np
import pytest

from lungdet.datasets import RandomCorrelatedNoise, RandomSliceThickness
from lungdet.datasets.transforms.scanner import (
    correlated_noise,
    slice_profile,
)
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.structures import CaseRecord
from tests.datasets.stores import BALLS_GRID

# a crop magnified by 1.25, of a case with voxels of 1 mm
GRID = Geometry.from_parts(
    (20, 3, 5), spacing_zyx=(0.8, 0.8, 0.8), origin_xyz=(0, 0, 0)
)
RECORD = CaseRecord('1.1', 0, BALLS_GRID, BALLS_GRID, 1.0, [], [], 'given')


def literal_slice(column: np.ndarray, thickness: float) -> np.ndarray:
    """Fine samples of the interpolated column, averaged over each slice."""
    steps = (np.arange(4000) + 0.5) / 4000 - 0.5
    at = np.arange(len(column))[:, None] + steps * thickness
    return np.interp(at, np.arange(len(column)), column).mean(1)


def test_noise_on_a_log_scale_is_above_zero() -> None:
    with pytest.raises(ConfigError, match='noise: 0 HU'):
        RandomCorrelatedNoise(noise=(0, 40))


@pytest.mark.parametrize('thickness', [0.3, 0.6, 1.0, 1.7, 2.0, 3.0, 3.75])
def test_slice_is_the_mean_over_its_thickness(
    rng: np.random.Generator, thickness: float
) -> None:
    image = rng.normal(-800, 200, (20, 3, 5)).astype(np.int16)

    (params,) = {
        RandomSliceThickness((0.8 * thickness,) * 2, prob=1.0).draw(
            np.random.default_rng(k), {'record': RECORD, 'geometry': GRID}
        )
        for k in range(3)
    }
    sample = {'image': image}
    blurred = RandomSliceThickness().apply(sample, params)['image']

    assert params.thickness == pytest.approx(thickness)  # 0.8 mm voxels
    assert slice_profile(thickness).sum() == pytest.approx(1)
    for y in range(3):
        for x in range(5):
            literal = literal_slice(image[:, y, x], thickness)
            # float32, and the samples of the literal one
            assert blurred[:, y, x] == pytest.approx(literal, abs=0.05)


def autocorrelation(noise: np.ndarray, axis: int, lag: int) -> float:
    moved = np.moveaxis(noise.astype(float), axis, 0)
    return float((moved[lag:] * moved[:-lag]).mean() / (moved**2).mean())


@pytest.mark.parametrize(
    'wanted', [(0.0, 0.0, 0.0), (0.5, 0.2, 0.2), (0.7, 0.65, 0.3)]
)
def test_noise_has_the_correlation_and_the_hu_that_were_asked_for(
    wanted: tuple[float, float, float],
) -> None:
    image = np.full((60, 70, 80), -870, dtype=np.int16)
    draw = RandomCorrelatedNoise((30, 30), prob=1.0).draw
    params = draw(np.random.default_rng(0), {})
    params = type(params)(params.noise_hu, wanted, params.seed)

    noise = RandomCorrelatedNoise().apply({'image': image}, params)['image']
    noise = noise - image

    # 336,000 voxels of which a correlated cluster counts as about ten
    assert noise.std() == pytest.approx(30, rel=0.02)
    for axis, rho in enumerate(wanted):
        assert autocorrelation(noise, axis, 1) == pytest.approx(rho, abs=0.02)
        assert autocorrelation(noise, axis, 3) == pytest.approx(0, abs=0.02)
        faces = np.moveaxis(noise, axis, 0)[[0, -1]]
        assert faces.std() == pytest.approx(30, rel=0.1)


def test_noise_is_white_noise_averaged_over_three_voxels() -> None:
    white = np.random.default_rng(7).standard_normal((7, 8, 9), np.float32)
    rho, a = 4 / 9, 0.25 + 0.25  # 2 a / (1 + 2 a^2) = 1 / 1.5 for a = 0.5
    rho = 2 * a / (1 + 2 * a**2)

    noise = correlated_noise((5, 6, 7), (rho, 0.0, 0.0), 7)

    for z, y, x in np.ndindex(5, 6, 7):
        column = white[z : z + 3, y + 1, x + 1]
        literal = (a * column[0] + column[1] + a * column[2]) / np.sqrt(1.5)
        assert noise[z, y, x] == pytest.approx(literal, abs=1e-5)


def test_loud_noise_is_sharp_and_quiet_noise_is_soft() -> None:
    transform = RandomCorrelatedNoise((8, 60), (0.0, 0.65), prob=1.0)
    rng = np.random.default_rng(2)
    draws = [transform.draw(rng, {}) for _ in range(400)]

    # on the log scale from 8 to 60, 12 is a fifth of the way and 45 six
    # sevenths; the correlation lies within 0.3 of that
    loud = [p.correlation[1] for p in draws if p.noise_hu > 45]
    quiet = [p.correlation[1] for p in draws if p.noise_hu < 12]
    assert max(loud) < 0.65 * (1 - (6 / 7 - 0.3))
    assert min(quiet) > 0.65 * (1 - (0.202 + 0.3))
    assert 8 <= min(p.noise_hu for p in draws) < 10
    assert 50 < max(p.noise_hu for p in draws) <= 60
    for p in draws:
        assert p.correlation[1] == p.correlation[2]
        assert 0.3 <= p.correlation[0] <= 0.7


def test_rarely_drawn_transforms_change_nothing_else() -> None:
    for transform in (
        RandomSliceThickness(prob=0.0),
        RandomCorrelatedNoise(prob=0.0),
    ):
        sample = {'image': np.zeros((2, 2, 2)), 'record': RECORD}
        params = transform.draw(np.random.default_rng(0), sample)
        assert transform.apply(sample, params) is sample


def test_correlation_that_three_voxels_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match='a correlation of 0.9; give 0 to'):
        RandomCorrelatedNoise(in_plane=(0.0, 0.9))
