from __future__ import annotations

import numpy as np

from lungdet.phantom.body import draw_body
from tests.phantom.conftest import NOISE_SEEDS


def test_spacing_is_that_of_luna16() -> None:
    steps = np.array(
        [
            draw_body(np.random.default_rng(seed), size).geometry.spacing
            for seed in range(100)
            for size in ('small', 'full')
        ]
    )

    # the slice's profile is a box of its thickness
    assert 1.0 <= steps[:, 0].min() and steps[:, 0].max() <= 2.5
    assert 0.46 <= steps[:, 1].min() and steps[:, 1].max() <= 0.98
    assert np.ptp(steps[:, 0]) > 1.3 and np.ptp(steps[:, 1]) > 0.2


def test_tissue_values_lie_in_the_bands() -> None:
    for seed in range(200):
        hu = draw_body(np.random.default_rng(seed), 'full').hu
        assert 30 <= hu.soft <= 70
        assert -115 <= hu.fat <= -95
        assert 150 <= hu.marrow <= 350
        assert 500 <= hu.cortex <= 1200
        assert -1000 <= hu.lumen <= -940


def test_noise_seeds_cover_sharp_and_smooth_kernels() -> None:
    noise = [
        draw_body(np.random.default_rng(seed), 'small').noise
        for seed in NOISE_SEEDS
    ]

    assert min(noise) < 20 and max(noise) > 40
