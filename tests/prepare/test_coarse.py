from __future__ import annotations

import numpy as np
import pytest

from lungdet.geometry import Geometry
from lungdet.prepare.coarse import coarse_means
from lungdet.structures import Volume


def test_coarse_means_are_the_literal_block_means(
    rng: np.random.Generator,
) -> None:
    array = rng.integers(-3024, 3000, (7, 13, 11)).astype(np.int16)
    geometry = Geometry.from_parts(
        array.shape, spacing_zyx=(1.4, 0.8, 0.7), origin_xyz=(3, 4, 5)
    )

    blocks, grid = coarse_means(Volume(array, geometry))

    held = np.clip(array, -1000, 400).astype(float)
    assert blocks.shape == grid.shape == (3, 3, 2)
    for index in np.ndindex(*blocks.shape):
        low = np.array(index) * (2, 4, 4)
        part = tuple(slice(a, a + n) for a, n in zip(low, (2, 4, 4)))
        assert blocks[index] == pytest.approx(held[part].mean(), abs=1e-3)
        middle = geometry.to_world(low[None] + [[0.5, 1.5, 1.5]])
        np.testing.assert_allclose(
            grid.to_world(np.array([index])), middle, atol=1e-9
        )
