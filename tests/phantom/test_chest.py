from __future__ import annotations

import numpy as np
import pytest

from lungdet.phantom.body import draw_body
from lungdet.phantom.chest import Chest


@pytest.fixture
def chest(rng: np.random.Generator) -> Chest:
    """Air on a small grid whose voxels differ along every axis."""
    body = draw_body(rng, 'small')
    size = (9, 30, 40)
    axes = tuple(
        (np.arange(n) - (n - 1) / 2) * step
        for n, step in zip(size, body.geometry.spacing)
    )
    return Chest(
        body,
        hu=np.full(size, -1000, dtype=np.float32),
        lungs=np.ones(size, dtype=np.float32),
        labels=np.full(size, 3, dtype=np.uint8),
        axes=axes,
    )


def test_frame_and_world_agree_with_the_axes(chest: Chest) -> None:
    z, y, x = chest.axes
    index = np.array([[2, 7, 11], [8, 0, 39]])
    points = np.stack([x[index[:, 2]], y[index[:, 1]], z[index[:, 0]]], 1)

    np.testing.assert_allclose(chest.frame.to_world(index), points, atol=1e-9)
    np.testing.assert_allclose(
        chest.to_world(points), chest.body.geometry.to_world(index), atol=1e-9
    )


def test_value_is_that_of_the_nearest_voxel(
    chest: Chest, rng: np.random.Generator
) -> None:
    values = rng.normal(size=chest.hu.shape)
    step = chest.body.geometry.spacing[::-1]

    for index in ((0, 0, 0), (4, 20, 3), (8, 29, 39)):
        (point,) = chest.frame.to_world([index])
        assert chest.value_at(values, point + 0.4 * step) == values[index]
    # outside, the last voxel
    assert chest.value_at(values, np.full(3, 1e4)) == values[-1, -1, -1]


def test_points_of_a_lung_lie_in_its_voxels(
    chest: Chest, rng: np.random.Generator
) -> None:
    chest.labels[:, :, :20] = 4

    points = chest.lung_points(rng, 400, 3)

    assert points.shape == (400, 3)
    assert {chest.value_at(chest.labels, p) for p in points} == {3}
    # jittered, and not on a raster
    assert len(np.unique(points[:, 0])) > 300
    assert chest.lung_points(rng, 5, 5).shape == (0, 3)


def test_a_tube_has_its_volume_and_value(chest: Chest) -> None:
    start, stop = np.array([-9.0, 1, 0]), np.array([9.0, 1, 0])

    chest.add_tube(start, stop, radii=(4, 4), value=40)

    amount = (chest.hu + 1000).sum() / 1040
    voxel = float(np.prod(chest.body.geometry.spacing))
    wanted = np.pi * 4**2 * 18 + 4 / 3 * np.pi * 4**3
    assert amount * voxel == pytest.approx(wanted, rel=0.05)
    assert chest.value_at(chest.hu, np.array([0.0, 1, 0])) == 40
    assert chest.value_at(chest.hu, np.array([0.0, 9, 0])) == -1000
