from __future__ import annotations

import numpy as np
import pytest

from lungdet.datasets import (
    RandomBlur,
    RandomGamma,
    RandomHUShiftScale,
    RandomNoise,
)
from lungdet.datasets.transforms.intensity import (
    BlurParams,
    GammaParams,
    HUShiftScaleParams,
    NoiseParams,
)
from tests.datasets.transforms.draws import assert_rate, draws


def sample_of(*hu: float) -> dict:
    return {'image': np.array(hu, dtype=np.int16)}


def test_shift_and_scale_hand_worked() -> None:
    shifted = RandomHUShiftScale().apply(
        sample_of(-1000, 0, 200), HUShiftScaleParams(1.1, 30.0)
    )['image']

    np.testing.assert_allclose(shifted, [-1070, 30, 250], atol=1e-3)


def test_gamma_hand_worked() -> None:
    # exponent 2 on the window -1000..1000: intensity 0, 1/4, 1/2, 1
    bent = RandomGamma().apply(
        sample_of(-3000, -1000, -500, 0, 1000, 2500),
        GammaParams(2.0, (-1000, 1000)),
    )['image']

    np.testing.assert_allclose(
        bent, [-3000, -1000, -875, -500, 1000, 2500], atol=1e-3
    )


def test_noise_has_its_deviation() -> None:
    image = np.full((8, 40, 40), -700, dtype=np.int16)

    noisy = RandomNoise().apply(
        {'image': image}, NoiseParams(noise_hu=20.0, seed=7)
    )['image']

    noise = noisy - image
    assert noise.std() == pytest.approx(20, rel=0.03)
    assert abs(noise.mean()) < 1


def test_blur_keeps_planes_apart() -> None:
    image = np.zeros((8, 40, 40), dtype=np.int16)
    image[4, 20, 20] = 1000

    blurred = RandomBlur().apply({'image': image}, BlurParams(0.8))['image']

    assert not blurred[[3, 5]].any()
    assert blurred.sum() == pytest.approx(1000, rel=1e-4)
    # a Gaussian of 0.8 voxels sampled at -2..2: 0.499 in the middle
    assert blurred[4, 20, 20] == pytest.approx(1000 * 0.499**2, rel=0.01)


@pytest.mark.parametrize(
    ('transform', 'identity'),
    [
        (RandomHUShiftScale(prob=0.3), HUShiftScaleParams()),
        (RandomGamma(prob=0.3), GammaParams()),
        (RandomNoise(prob=0.3), NoiseParams()),
        (RandomBlur(prob=0.3), BlurParams()),
    ],
)
def test_most_crops_are_left_alone(
    transform: object, identity: object
) -> None:
    sample = sample_of(5)

    assert_rate(sum(params == identity for params in draws(transform)), 0.7)
    assert transform.apply(sample, identity) is sample


def test_draws_stay_in_their_ranges() -> None:
    shifts = [p.shift_hu for p in draws(RandomHUShiftScale(prob=1.0))]
    factors = [p.factor for p in draws(RandomHUShiftScale(prob=1.0))]
    exponents = [p.exponent for p in draws(RandomGamma(prob=1.0))]
    noises = draws(RandomNoise(prob=1.0))
    noise = [p.noise_hu for p in noises]
    blur = [p.sigma for p in draws(RandomBlur(prob=1.0))]

    for values, low, high in (
        (shifts, -40, 40),
        (factors, 0.9, 1.1),
        (exponents, 0.7, 1.5),
        (noise, 5, 40),
        (blur, 0.4, 0.9),
    ):
        span = high - low
        assert low <= min(values) < low + span / 100
        assert high - span / 100 < max(values) <= high
    assert len({p.seed for p in noises}) == len(noises)
