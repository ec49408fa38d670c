"""Nodules and what looks like them, blended into a chest.

Sizes follow LUNA16's 1,186 diameters, looks the LIDC readers' tables.
Nodules and vessels pass through the same blur, so small nodules are faint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungdet.phantom.chest import (
    EDGE_MM,
    SUBSLICES,
    Chest,
    _soft,
    draw_tube,
    lung_points,
)

# d = 3.2 + exp(N(1.25, .90)), clipped: fits LUNA16's table, KS .035
DIAMETER_SHIFT, DIAMETER_MU, DIAMETER_SIGMA = 3.2, 1.25, 0.90
DIAMETER_RANGE = (3.25, 33.0)
# scans with 0, 1, 2, ... nodules: 287, 310, 159, 63, 24, 23, 11 of LUNA16
COUNT_SHARES = (0.323, 0.349, 0.179, 0.071, 0.032, 0.028, 0.018)
SITE_SHARES = (0.35, 0.35, 0.25, 0.05)  # anywhere, vessel, pleura, fissure
SITES = ('anywhere', 'vessel', 'pleura', 'fissure')
TEXTURE_SHARES = (0.88, 0.06, 0.06)
TEXTURES = ('solid', 'ground glass', 'part solid')
LOOK_ALIKES = ('crossing', 'tube', 'scar', 'plaque', 'speck')


@dataclass
class Nodule:
    """One nodule as drawn.

    Attributes:
        center: x, y, z mm in the chest's frame.
        diameter: Of the sphere of equal volume, of the unblurred shape.
        texture: ``'solid'``, ``'ground glass'`` or ``'part solid'``.
        site: Where it grows.
        subtlety: 1 (hardly seen) to 5, for the reader XML.
        spiculated: Whether it has spicules.
        lobulated: Whether it has lobes.
    """

    center: np.ndarray
    diameter: float
    texture: str
    site: str
    subtlety: int = 4
    spiculated: bool = False
    lobulated: bool = False


def draw_diameter(rng: np.random.Generator, num: int) -> np.ndarray:
    """Diameters (num,) in mm after LUNA16's table."""
    d = DIAMETER_SHIFT + np.exp(rng.normal(DIAMETER_MU, DIAMETER_SIGMA, num))
    return np.clip(d, *DIAMETER_RANGE)


def add_nodules(
    rng: np.random.Generator, chest: Chest, num: int | None = None
) -> tuple[list[Nodule], np.ndarray]:
    """Draw and blend nodules.

    Args:
        rng: Draws everything.
        chest: Changed in place.
        num: How many; None draws LUNA16's numbers per scan.

    Returns:
        The nodules and a uint8 array (z, y, x) of their numbers from 1.
    """
    if num is None:
        shares = np.array(COUNT_SHARES)
        num = int(rng.choice(len(shares), p=shares / shares.sum()))
    labels = np.zeros(chest.hu.shape, dtype=np.uint8)
    nodules: list[Nodule] = []
    for diameter in draw_diameter(rng, num):
        site = str(rng.choice(SITES, p=SITE_SHARES))
        center = _find_site(rng, chest, site, diameter / 2, nodules)
        if center is not None:
            nodule = Nodule(center, float(diameter), '', site)
            _blend(rng, chest, nodule, labels, len(nodules) + 1)
            nodules.append(nodule)
    return nodules, labels


def _value_at(chest: Chest, array: np.ndarray, point: np.ndarray) -> float:
    first = np.array([axis[0] for axis in chest.axes])
    index = (point[::-1] - first) / chest.body.geometry.spacing
    index = np.clip(np.rint(index), 0, np.array(array.shape) - 1).astype(int)
    return float(array[tuple(index)])


def _find_site(
    rng: np.random.Generator,
    chest: Chest,
    site: str,
    radius: float,
    others: list[Nodule],
) -> np.ndarray | None:
    """A free place for a nodule, None after 200 tries."""
    for _ in range(200):
        label = int(rng.choice((3, 4)))
        points = lung_points(rng, chest, 1, label)
        if not len(points):
            continue
        point = points[0]
        if site == 'vessel' and len(chest.vessels):
            branch = chest.vessels[rng.integers(len(chest.vessels))]
            if branch[6] > 2:
                continue
            offset = rng.normal(size=3)
            offset *= rng.uniform(0, 2) / np.linalg.norm(offset)
            point = branch[3:6] + offset
        if site == 'pleura':
            point = _to_wall(rng, chest, point, radius)
        if point is None or not _is_free(chest, point, radius, site, others):
            continue
        return point
    return None


def _to_wall(
    rng: np.random.Generator,
    chest: Chest,
    point: np.ndarray,
    radius: float,
) -> np.ndarray | None:
    """Walk outwards to the pleura, then back by .3 to 1 radius."""
    outward = np.array([np.sign(point[0]) * 1.0, rng.normal(0, 1), 0])
    outward /= np.linalg.norm(outward)
    for step in np.arange(0, 120, 1.0):
        place = point + step * outward
        if _value_at(chest, chest.lungs, place) < 0.5:
            back = rng.uniform(0.3, 1.0) * radius
            return place - back * outward
    return None


def _is_free(
    chest: Chest,
    point: np.ndarray,
    radius: float,
    site: str,
    others: list[Nodule],
) -> bool:
    for other in others:
        gap = float(np.linalg.norm(other.center - point))
        if gap < radius + other.diameter / 2 + 3:
            return False
    ends = [axis[-1] - radius - 2 for axis in chest.axes][::-1]
    if (np.abs(point) > ends).any():
        return False
    directions = np.vstack([np.eye(3), -np.eye(3)]) * 0.7 * radius
    air = [_value_at(chest, chest.lungs, point + d) for d in directions]
    wanted = 2 if site == 'pleura' else 5
    inside = _value_at(chest, chest.labels, point) in (3, 4)
    return inside and sum(v > 0.5 for v in air) >= wanted


def _blend(
    rng: np.random.Generator,
    chest: Chest,
    nodule: Nodule,
    labels: np.ndarray,
    number: int,
) -> None:
    """Draw one nodule's shape and density, and blend it in."""
    radius = nodule.diameter / 2
    bumps = rng.normal(size=(8, 3))
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    chance = 0.30 if radius > 6 else 0.12 if radius > 4 else 0.03
    nodule.lobulated = bool(rng.random() < chance)
    strength = (
        rng.uniform(0.15, 0.25)
        if nodule.lobulated
        else rng.uniform(0.04, 0.10)
    )
    stretch = np.array([1.0, rng.uniform(0.75, 1), rng.uniform(0.75, 1)])
    rng.shuffle(stretch)
    stretch /= np.prod(stretch) ** (1 / 3)

    def surface(offset: np.ndarray) -> np.ndarray:
        """Signed distance of offsets (..., 3) to the nodule's surface."""
        turned = offset / stretch
        length = np.linalg.norm(turned, axis=-1)
        unit = turned / np.maximum(length, 1e-6)[..., None]
        lobes = np.exp(4 * (unit @ bumps.T - 1)).sum(-1)
        return length - radius * (1 + strength * (lobes - 0.9))

    nodule.diameter = _equivalent_diameter(surface, radius)
    region, alpha, core = _rasterise(chest, nodule.center, surface, radius)
    part = chest.hu[region]
    nodule.texture = str(rng.choice(TEXTURES, p=TEXTURE_SHARES))
    grain = rng.normal(0, rng.uniform(10, 40), part.shape)
    plateau = rng.normal(30, 25)
    calcified = rng.random() < (0.17 if radius < 4 else 0.09)
    if nodule.texture == 'solid':
        target = (rng.uniform(150, 700) if calcified else plateau) + grain
    else:
        target = (
            np.maximum(part, chest.body.hu['lung'])
            + rng.uniform(120, 350)
            + grain
        )
        if nodule.texture == 'part solid':
            target = target + core * (plateau - target)
    # a nodule in the wall's shade never makes the wall darker
    part += (alpha * np.maximum(target - part, -60)).astype(np.float32)
    free = labels[region] == 0
    labels[region][free & (alpha > 0.5)] = number
    _spicules(rng, chest, nodule, plateau)
    bright = nodule.texture == 'solid'
    nodule.subtlety = int(
        np.clip(2 + (radius > 2.6) + (radius > 4) + bright, 1, 5)
    )


def _equivalent_diameter(surface: object, radius: float) -> float:
    """Diameter of the sphere of the unblurred shape's volume."""
    steps = np.linspace(-1.9, 1.9, 48) * radius
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing='ij'), -1)
    share = (surface(grid) < 0).mean()  # type: ignore[operator]
    volume = share * (3.8 * radius * 48 / 47) ** 3
    return float((6 * volume / np.pi) ** (1 / 3))


def _rasterise(
    chest: Chest, center: np.ndarray, surface: object, radius: float
) -> tuple[tuple[slice, slice, slice], np.ndarray, np.ndarray]:
    """Region, blurred share of the nodule, and share of its solid core."""
    thick = chest.body.geometry.spacing[0]
    reach = 1.7 * radius + EDGE_MM
    region, local = [], []
    for axis, world in enumerate((2, 1, 0)):
        coordinates = chest.axes[axis]
        extra = reach + (thick / 2 if axis == 0 else 0)
        first = int(np.searchsorted(coordinates, center[world] - extra))
        last = int(np.searchsorted(coordinates, center[world] + extra))
        region.append(slice(first, last))
        local.append(coordinates[first:last] - center[world])
    alpha = np.zeros([len(v) for v in local])
    core = np.zeros_like(alpha)
    for shift in SUBSLICES:
        z, y, x = np.meshgrid(
            local[0] + shift * thick, local[1], local[2], indexing='ij'
        )
        distance = surface(np.stack([x, y, z], -1))  # type: ignore[operator]
        alpha += _soft(distance) / len(SUBSLICES)
        core += _soft(distance + 0.55 * radius) / len(SUBSLICES)
    a, b, c = region
    return (a, b, c), alpha, core


def _spicules(
    rng: np.random.Generator, chest: Chest, nodule: Nodule, value: float
) -> None:
    """Thin cones around larger nodules, and feeding vessels."""
    radius = nodule.diameter / 2
    chance = (
        0.5
        if radius > 10
        else 0.22
        if radius > 6
        else (0.10 if radius > 4 else 0.02)
    )
    nodule.spiculated = bool(rng.random() < chance)
    tips = []
    if nodule.spiculated:
        for _ in range(int(rng.integers(4, 15))):
            tips.append(
                (rng.uniform(1.3, 2.0), rng.uniform(0.8, 1.5) / 2, 0.1)
            )
    if rng.random() < 0.3:
        tips.append((rng.uniform(2.0, 4.0), rng.uniform(0.6, 1.2), 0.5))
    for length, base, tip in tips:
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        start = nodule.center + direction * radius * 0.7
        stop = nodule.center + direction * radius * length
        draw_tube(
            chest, start, stop, radii=(base, tip), value=value, only_lung=True
        )


def add_look_alikes(
    rng: np.random.Generator, chest: Chest, nodules: list[Nodule]
) -> list[np.ndarray]:
    """Blend 6 to 14 findings that are no nodules; their centres, x, y, z."""
    centers = []
    for _ in range(int(rng.integers(6, 15))):
        kind = str(rng.choice(LOOK_ALIKES))
        site = 'pleura' if kind == 'plaque' else 'anywhere'
        center = _find_site(rng, chest, site, 3.0, nodules)
        if center is None:
            continue
        _draw_look_alike(rng, chest, kind, center)
        centers.append(center)
    return centers


def _draw_look_alike(
    rng: np.random.Generator, chest: Chest, kind: str, center: np.ndarray
) -> None:
    def tube(length: float, radius: float, value: float) -> None:
        direction = rng.normal(size=3)
        direction *= length / 2 / np.linalg.norm(direction)
        draw_tube(
            chest,
            center - direction,
            center + direction,
            radii=(radius, radius),
            value=value,
            only_lung=True,
        )

    soft, blood = chest.body.hu['soft'], chest.body.hu['blood']
    if kind == 'crossing':
        for _ in range(2):
            tube(rng.uniform(16, 28), rng.uniform(0.9, 1.7), blood)
    elif kind == 'tube':
        tube(rng.uniform(9, 18), rng.uniform(1.2, 2.2), blood)
    elif kind == 'scar':
        across = rng.normal(size=3)
        across *= 2.0 / np.linalg.norm(across)
        for step in range(-3, 4):
            place = center + step * across
            direction = np.cross(across, (0.3, 0.5, 0.8)) * 3
            draw_tube(
                chest,
                place - direction,
                place + direction,
                radii=(0.7, 0.7),
                value=soft - 150,
                only_lung=True,
            )
    elif kind == 'plaque':
        value = soft if rng.random() < 0.6 else 400.0
        along = np.array([0.0, rng.normal(), rng.normal()])
        along *= rng.uniform(4, 9) / np.linalg.norm(along)
        draw_tube(
            chest,
            center - along,
            center + along,
            radii=(1.6, 1.6),
            value=value,
        )
    else:
        tube(0.5, rng.uniform(0.5, 0.9), 700.0)
