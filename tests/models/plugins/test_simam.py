from __future__ import annotations

import torch

from lungdet.models.plugins import SimAM3D
from tests.oracles.waves import check_wave, vectors, wave


def test_simam_stored_numbers() -> None:
    x = wave(2, 4, 2, 3, 3, freq=0.41)

    check_wave(SimAM3D(4)(x), vectors()['simam']['out'])


def test_simam_of_one_voxel_is_finite() -> None:
    # no distance from the mean: sigmoid(1 / 2)
    x = torch.full((1, 2, 1, 1, 1), 3.0)

    actual = SimAM3D(2)(x)

    torch.testing.assert_close(actual, torch.full_like(x, 3 * 0.6224593))
