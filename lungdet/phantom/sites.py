"""Sites of nodules and look-alikes in a chest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lungdet.phantom.chest import LEFT_LUNG, RIGHT_LUNG, Chest

SITES = ('anywhere', 'vessel', 'pleura', 'fissure')
SITE_CHANCES = (0.35, 0.35, 0.25, 0.05)
TRIES = 200
GAP_MM = 3  # between two nodules
END_MM = 2  # between a nodule and the scan's faces
THICK_VESSEL_MM = 2  # radius; nodules sit at branches below it
FARTHEST_WALL_MM = 120


class Sphere(NamedTuple):
    """Centre (x, y, z) and radius in mm."""

    center: np.ndarray
    radius: float


def find_site(
    rng: np.random.Generator,
    chest: Chest,
    site: str,
    radius: float,
    others: Sequence[Sphere],
) -> np.ndarray | None:
    """A free point x, y, z mm for a nodule; None after 200 tries.

    Args:
        rng: Source of the draws.
        chest: Where to look.
        site: One of ``SITES``.
        radius: Radius of the nodule in mm.
        others: Nodules to keep away from.
    """
    for _ in range(TRIES):
        point = _draw_point(rng, chest, site, radius)
        if point is not None and _is_free(chest, point, radius, site, others):
            return point
    return None


def _draw_point(
    rng: np.random.Generator, chest: Chest, site: str, radius: float
) -> np.ndarray | None:
    label = int(rng.choice((RIGHT_LUNG, LEFT_LUNG)))
    points = chest.lung_points(rng, 1, label)
    if not len(points):
        return None
    if site == 'pleura':
        return _at_wall(rng, chest, points[0], radius)
    if site == 'vessel' and len(chest.vessels):
        branch = chest.vessels[rng.integers(len(chest.vessels))]
        if branch[6] > THICK_VESSEL_MM:
            return None
        offset = rng.normal(size=3)
        offset *= rng.uniform(0, 2) / np.linalg.norm(offset)
        return branch[3:6] + offset
    return points[0]


def _at_wall(
    rng: np.random.Generator, chest: Chest, point: np.ndarray, radius: float
) -> np.ndarray | None:
    """Walk outwards to the pleura, then back by 0.3 to 1 radius."""
    outward = np.array([np.sign(point[0]) * 1.0, rng.normal(0, 1), 0])
    outward /= np.linalg.norm(outward)
    for distance in np.arange(0, FARTHEST_WALL_MM, 1.0):
        reached = point + distance * outward
        if chest.value_at(chest.lungs, reached) < 0.5:
            return reached - rng.uniform(0.3, 1.0) * radius * outward
    return None


def _is_free(
    chest: Chest,
    point: np.ndarray,
    radius: float,
    site: str,
    others: Sequence[Sphere],
) -> bool:
    """Whether a site is clear of other nodules, in the scan, and in lung."""
    for other in others:
        gap = float(np.linalg.norm(other.center - point))
        if gap < radius + other.radius + GAP_MM:
            return False
    ends = [axis[-1] - radius - END_MM for axis in chest.axes][::-1]
    if (np.abs(point) > ends).any():
        return False
    around = point + np.vstack([np.eye(3), -np.eye(3)]) * 0.7 * radius
    in_lung = sum(chest.value_at(chest.lungs, p) > 0.5 for p in around)
    needed = 2 if site == 'pleura' else 5
    label = chest.value_at(chest.labels, point)
    return label in (RIGHT_LUNG, LEFT_LUNG) and in_lung >= needed
