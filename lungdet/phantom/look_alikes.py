"""Look-alikes that are not nodules: vessels, scars, plaques, specks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.phantom.chest import Chest
from lungdet.phantom.nodules import Nodule
from lungdet.phantom.sites import Sphere, find_site

RADIUS_MM = 3.0  # kept free of nodules around a centre


def add_look_alikes(
    rng: np.random.Generator, chest: Chest, nodules: Sequence[Nodule]
) -> list[np.ndarray]:
    """Blend 6 to 14 findings that are not nodules into a chest.

    Args:
        rng: Source of the draws.
        chest: Drawn into.
        nodules: Nodules to keep away from.

    Returns:
        Their centres, each (3,) x, y, z mm in the chest's frame.
    """
    others = [Sphere(n.center, n.diameter / 2) for n in nodules]
    centers = []
    for _ in range(int(rng.integers(6, 15))):
        kind = str(rng.choice(list(LOOK_ALIKES)))
        site = 'pleura' if kind == 'plaque' else 'anywhere'
        center = find_site(rng, chest, site, RADIUS_MM, others)
        if center is not None:
            LOOK_ALIKES[kind](rng, chest, center)
            centers.append(center)
    return centers


def add_crossing(
    rng: np.random.Generator, chest: Chest, center: np.ndarray
) -> None:
    """Two vessels that cross."""
    for _ in range(2):
        length, radius = rng.uniform(16, 28), rng.uniform(0.9, 1.7)
        _draw_rod(rng, chest, center, length, radius, chest.body.hu.blood)


def add_short_vessel(
    rng: np.random.Generator, chest: Chest, center: np.ndarray
) -> None:
    """A piece of a thick vessel."""
    length, radius = rng.uniform(9, 18), rng.uniform(1.2, 2.2)
    _draw_rod(rng, chest, center, length, radius, chest.body.hu.blood)


def add_scar(
    rng: np.random.Generator, chest: Chest, center: np.ndarray
) -> None:
    """A sheet of thin parallel strands."""
    across = rng.normal(size=3)
    across *= 2.0 / np.linalg.norm(across)
    along = np.cross(across, (0.3, 0.5, 0.8)) * 3
    for step in range(-3, 4):
        middle = center + step * across
        chest.add_tube(
            middle - along,
            middle + along,
            radii=(0.7, 0.7),
            value=chest.body.hu.soft - 150,
            only_lung=True,
        )


def add_plaque(
    rng: np.random.Generator, chest: Chest, center: np.ndarray
) -> None:
    """A thickened pleura, calcified in some."""
    value = chest.body.hu.soft if rng.random() < 0.6 else 400.0
    along = np.array([0.0, rng.normal(), rng.normal()])
    along *= rng.uniform(4, 9) / np.linalg.norm(along)
    chest.add_tube(
        center - along, center + along, radii=(1.6, 1.6), value=value
    )


def add_speck(
    rng: np.random.Generator, chest: Chest, center: np.ndarray
) -> None:
    """A grain of calcium."""
    _draw_rod(rng, chest, center, 0.5, rng.uniform(0.5, 0.9), 700.0)


def _draw_rod(
    rng: np.random.Generator,
    chest: Chest,
    center: np.ndarray,
    length: float,
    radius: float,
    value: float,
) -> None:
    """A tube in any direction about its centre."""
    half = rng.normal(size=3)
    half *= length / 2 / np.linalg.norm(half)
    chest.add_tube(
        center - half,
        center + half,
        radii=(radius, radius),
        value=value,
        only_lung=True,
    )


LOOK_ALIKES = {
    'crossing': add_crossing,
    'tube': add_short_vessel,
    'scar': add_scar,
    'plaque': add_plaque,
    'speck': add_speck,
}
