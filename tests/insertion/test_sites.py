"""Sites lie in the lungs, at what they are named after, and apart."""

from __future__ import annotations

import numpy as np
import pytest

from lungdet.insertion.sites import GridSphere, Room

SPACING = np.array([1.0, 1.0, 1.0])


@pytest.fixture
def chest() -> tuple[np.ndarray, np.ndarray]:
    """Two lungs beside a mediastinum, a wall around, a vessel in each."""
    image = np.full((60, 80, 120), 40.0)
    lungs = np.zeros(image.shape, dtype=np.uint8)
    for columns in (slice(8, 48), slice(72, 112)):
        image[:, 8:72, columns] = -870
        lungs[:, 8:72, columns] = 1
    image[:, 38:41, 12:45] = image[:, 38:41, 76:108] = 0
    return image, lungs


def test_parenchyma_is_clear_lung(
    chest: tuple, rng: np.random.Generator
) -> None:
    image, lungs = chest
    room = Room(image, lungs, SPACING)

    for _ in range(20):
        site = room.find(rng, 'parenchyma', 4.0)
        assert site is not None and site.outward is None
        z, y, x = np.rint(site.center).astype(int)
        around = lungs[z - 4 : z + 5, y - 4 : y + 5, x - 4 : x + 5]
        assert around.all() and 4 <= z <= 55


def test_a_site_at_a_vessel_has_one(
    chest: tuple, rng: np.random.Generator
) -> None:
    image, lungs = chest
    room = Room(image, lungs, SPACING)

    for _ in range(20):
        site = room.find(rng, 'vessel', 4.0)
        assert site is not None
        _, y, x = site.center
        # one millimetre beside rows 38 to 40
        assert abs(y - 39) <= 2 and lungs[30, int(y), int(x)]


def test_the_pleura_is_met_from_inside_and_squarely(
    chest: tuple, rng: np.random.Generator
) -> None:
    image, lungs = chest
    room = Room(image, lungs, SPACING)
    normals = set()

    for _ in range(40):
        site = room.find(rng, 'pleura', 4.0)
        assert site is not None and site.outward is not None
        behind, before = (
            np.rint(site.center + step * site.outward).astype(int)
            for step in (3, -3)
        )
        assert image[tuple(behind)] > 0 and lungs[tuple(before)]
        assert np.abs(site.outward).max() > 0.95
        normals.add(tuple(np.rint(site.outward).astype(int)))

    assert normals <= {(0, 0, 1), (0, 0, -1), (0, 1, 0), (0, -1, 0)}
    assert len(normals) >= 3


def test_the_pleura_is_at_the_edge_of_the_lungs(
    chest: tuple, rng: np.random.Generator
) -> None:
    image, lungs = chest
    room = Room(image, lungs, SPACING)
    depths = []

    for _ in range(200):
        site = room.find(rng, 'pleura', 4.0)
        assert site is not None and site.outward is not None
        _, y, x = site.center
        # the edges of the lungs are half a voxel before 8 and 48, ...
        to_edges = [x - 7.5, 47.5 - x, x - 71.5, 111.5 - x, y - 7.5, 71.5 - y]
        depths.append(min(to_edges, key=abs))

    # half a step of the search, and nothing on average
    assert np.abs(depths).max() <= 0.36
    assert abs(np.mean(depths)) < 0.05


def test_no_site_is_where_something_is(
    chest: tuple, rng: np.random.Generator
) -> None:
    image, lungs = chest
    taken = GridSphere(np.array([30.0, 40.0, 28.0]), 22.0)
    room = Room(image, lungs, SPACING, occupied=[taken], margin=12)
    sites = [
        room.find(rng, kind, 3.0)
        for kind in ('parenchyma', 'vessel')
        for _ in range(10)
    ]

    centers = [site.center for site in sites if site is not None]
    assert len(centers) > 10
    for center in centers:
        assert np.linalg.norm(center - taken.center) > 22 + 3
        assert 11 < center[0] < 48


def test_without_lungs_there_is_none(rng: np.random.Generator) -> None:
    image = np.full((40, 40, 40), 40.0)
    room = Room(image, np.zeros(image.shape), SPACING)

    for kind in ('parenchyma', 'vessel', 'pleura'):
        assert room.find(rng, kind, 4.0) is None
