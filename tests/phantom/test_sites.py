from __future__ import annotations

import numpy as np
import pytest

from lungdet.phantom.sites import GAP_MM, SITES, Sphere, find_site
from tests.phantom.conftest import Measured

RADIUS = 3.0


@pytest.mark.parametrize('site', SITES)
def test_sites_are_in_lung_and_apart(
    measured: Measured, rng: np.random.Generator, site: str
) -> None:
    chest = measured.chest
    others: list[Sphere] = []

    for _ in range(8):
        point = find_site(rng, chest, site, RADIUS, others)
        if point is not None:
            others.append(Sphere(point, RADIUS))

    assert len(others) >= 4
    for k, one in enumerate(others):
        assert chest.value_at(chest.labels, one.center) in (3, 4)
        for other in others[:k]:
            gap = np.linalg.norm(one.center - other.center)
            assert gap >= 2 * RADIUS + GAP_MM


def test_a_nodule_of_the_pleura_reaches_the_wall(
    measured: Measured, rng: np.random.Generator
) -> None:
    chest = measured.chest
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)

    for _ in range(5):
        point = find_site(rng, chest, 'pleura', 4.0, [])
        assert point is not None
        edge = [chest.value_at(chest.lungs, point + 5.5 * d) for d in ring]
        assert min(edge) < 0.5


def test_where_no_site_is_free_there_is_none(
    measured: Measured, rng: np.random.Generator
) -> None:
    everywhere = [Sphere(np.zeros(3), 1000.0)]

    assert find_site(rng, measured.chest, 'anywhere', 3.0, everywhere) is None
