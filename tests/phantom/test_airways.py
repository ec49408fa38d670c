from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lungdet.geometry import Geometry
from lungdet.phantom.airways import WALL_MM, add_airways, airway_tree
from lungdet.phantom.body import draw_body
from lungdet.phantom.chest import TRACHEA, Chest

STEP_MM = 0.25  # in plane


@pytest.fixture
def chest(rng: np.random.Generator) -> Chest:
    """Airways in lung alone, in fine voxels around the trachea."""
    grid = Geometry.from_parts(
        (121, 96, 96), spacing_zyx=(1, STEP_MM, STEP_MM), origin_xyz=(0, 0, 0)
    )
    body = replace(draw_body(rng, 'small'), geometry=grid)
    z, y, x = (
        (np.arange(n) - (n - 1) / 2) * step
        for n, step in zip(grid.shape, grid.spacing)
    )
    chest = Chest(
        body,
        hu=np.full(grid.shape, body.hu.lung, dtype=np.float32),
        lungs=np.ones(grid.shape, dtype=np.float32),
        labels=np.zeros(grid.shape, dtype=np.uint8),
        axes=(z, y - 4.0, x),
    )
    add_airways(chest)
    return chest


@pytest.mark.parametrize('height', [30, 40, 50])
def test_the_trachea_is_a_wall_of_one_to_two_mm_around_air(
    chest: Chest, height: int
) -> None:
    hu = chest.body.hu
    (plane,) = chest.hu[chest.axes[0] == height]
    wall = plane > (hu.lung + hu.soft) / 2
    lumen = ndimage.binary_fill_holes(wall) & ~wall

    inner, outer = (
        STEP_MM * np.sqrt(voxels.sum() / np.pi)
        for voxels in (lumen, lumen | wall)
    )
    assert outer - inner == pytest.approx(np.mean(WALL_MM), abs=0.2)
    assert 1 < outer - inner < 2
    radius = airway_tree(chest.body, top=70)[0].radius
    assert 0.7 * radius < inner < radius
    # nearly as bright as soft tissue, around air and in lung
    ring = plane[ndimage.binary_erosion(wall, iterations=2)]
    assert np.median(ring) == pytest.approx(hu.soft, abs=100)
    inside = ndimage.binary_erosion(lumen, iterations=5)
    np.testing.assert_allclose(plane[inside], hu.lumen, atol=1)
    assert plane[0, 0] == np.float32(hu.lung)
    (labels,) = chest.labels[chest.axes[0] == height]
    assert (labels[inside] == TRACHEA).all() and not labels[0, 0]


def test_no_wall_closes_a_branch(chest: Chest) -> None:
    trachea, *others = airway_tree(chest.body, top=70)
    carina = trachea.stop
    bronchi = [one for one in others if (one.start == carina).all()]
    assert len(bronchi) == 2

    for end in (trachea.start, *(one.stop for one in bronchi)):
        along = (end - carina) / np.linalg.norm(end - carina)
        for distance in range(10):  # mm from where the three meet
            value = chest.value_at(chest.hu, carina + distance * along)
            assert value == pytest.approx(chest.body.hu.lumen, abs=1)
