"""Nodules of a chest: drawn from the tables' statistics, then blended in.

Sizes follow LUNA16's 1,186 diameters, appearance the LIDC readers' tables.
Nodules and vessels pass through the same blur, so small nodules are faint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lungdet.geometry import Region, sphere_diameter
from lungdet.phantom.chest import SUBSLICES, Chest
from lungdet.phantom.sites import SITE_CHANCES, SITES, Sphere, find_site
from lungdet.phantom.surfaces import EDGE_MM, inside_fraction

# d = 3.2 + exp(N(1.25, .90)), clipped: fits LUNA16's table, KS .035
DIAMETER_SHIFT, DIAMETER_MU, DIAMETER_SIGMA = 3.2, 1.25, 0.90
DIAMETER_RANGE = (3.25, 33.0)
# scans with 0, 1, 2, ... nodules: 287, 310, 159, 63, 24, 23, 11 of LUNA16
COUNT_CHANCES = (0.323, 0.349, 0.179, 0.071, 0.032, 0.028, 0.018)
TEXTURES = ('solid', 'ground glass', 'part solid')
TEXTURE_CHANCES = (0.88, 0.06, 0.06)
REACH = 1.7  # how far a surface bulges, in radii
CORE = 0.55  # depth in radii of a part-solid nodule's solid core
DARKEST = -60  # HU by which a nodule may darken the wall, at most


@dataclass(frozen=True)
class Nodule:
    """One nodule as drawn.

    Attributes:
        center: x, y, z mm in the chest's frame.
        diameter: Diameter of the sphere of equal volume, of the unblurred
            shape, mm.
        texture: ``'solid'``, ``'ground glass'`` or ``'part solid'``.
        site: Where it grows, one of ``SITES``.
        subtlety: 1 (hardly visible) to 5, for the reader XML.
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


@dataclass(frozen=True)
class NoduleShape:
    """A stretched sphere with bumps around the origin.

    Attributes:
        radius: Radius of the sphere in mm.
        bumps: Unit vectors (8, 3) x, y, z towards the bumps.
        strength: Height of the bumps, in radii.
        stretch: Factors (3,) along x, y, z of product 1.
        lobulated: Whether the bumps are lobes.
    """

    radius: float
    bumps: np.ndarray
    strength: float
    stretch: np.ndarray
    lobulated: bool

    def distance(self, offset: np.ndarray) -> np.ndarray:
        """Signed distance in mm of offsets (..., 3) x, y, z to the surface."""
        turned = offset / self.stretch
        length = np.linalg.norm(turned, axis=-1)
        unit = turned / np.maximum(length, 1e-6)[..., None]
        lobes = np.exp(4 * (unit @ self.bumps.T - 1)).sum(-1)
        return length - self.radius * (1 + self.strength * (lobes - 0.9))

    def equivalent_diameter(self) -> float:
        """Diameter in mm of the sphere of the unblurred shape's volume."""
        steps = np.linspace(-1.9, 1.9, 48) * self.radius
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing='ij'), -1)
        inside = (self.distance(grid) < 0).mean()
        volume = inside * (3.8 * self.radius * 48 / 47) ** 3
        return sphere_diameter(volume)


def draw_diameter(rng: np.random.Generator, num: int) -> np.ndarray:
    """Diameters (num,) in mm, distributed as in LUNA16's table."""
    d = DIAMETER_SHIFT + np.exp(rng.normal(DIAMETER_MU, DIAMETER_SIGMA, num))
    return np.clip(d, *DIAMETER_RANGE)


def add_nodules(
    rng: np.random.Generator, chest: Chest, num: int | None = None
) -> tuple[list[Nodule], np.ndarray]:
    """Draw nodules into a chest.

    Args:
        rng: Source of the draws.
        chest: Drawn into.
        num: How many; None draws from LUNA16's numbers per scan. A nodule
            without a free site is left out.

    Returns:
        The nodules and a uint8 array (z, y, x) of their numbers from 1.
    """
    if num is None:
        chances = np.array(COUNT_CHANCES)
        num = int(rng.choice(len(chances), p=chances / chances.sum()))
    labels = np.zeros(chest.hu.shape, dtype=np.uint8)
    nodules: list[Nodule] = []
    for diameter in draw_diameter(rng, num):
        site = str(rng.choice(SITES, p=SITE_CHANCES))
        others = [Sphere(n.center, n.diameter / 2) for n in nodules]
        center = find_site(rng, chest, site, diameter / 2, others)
        if center is None:
            continue
        nodule, region, inside = add_nodule(
            rng, chest, center, float(diameter), site
        )
        nodules.append(nodule)
        labels[region][inside & (labels[region] == 0)] = len(nodules)
    return nodules, labels


def add_nodule(
    rng: np.random.Generator,
    chest: Chest,
    center: np.ndarray,
    diameter: float,
    site: str,
) -> tuple[Nodule, Region, np.ndarray]:
    """Draw one nodule's shape and density, and blend it into a chest.

    Args:
        rng: Source of the draws.
        chest: Drawn into.
        center: x, y, z mm.
        diameter: Before bumps, mm.
        site: Where it grows.

    Returns:
        The nodule, its region (z, y, x), and its voxels there, boolean.
    """
    shape = draw_nodule_shape(rng, diameter / 2)
    region, alpha, core = rasterise(chest, center, shape)
    density, plateau, texture = _draw_density(
        rng, chest, region, core, diameter / 2
    )
    change = np.maximum(density - chest.hu[region], DARKEST)
    chest.add(region, alpha * change)
    nodule = Nodule(
        center,
        shape.equivalent_diameter(),
        texture,
        site,
        _subtlety(diameter / 2, texture),
        lobulated=shape.lobulated,
    )
    spiculated = _add_spicules(rng, chest, nodule, plateau)
    return replace(nodule, spiculated=spiculated), region, alpha > 0.5


def draw_nodule_shape(rng: np.random.Generator, radius: float) -> NoduleShape:
    """Draw bumps, lobes and stretch; large nodules have more of them."""
    bumps = rng.normal(size=(8, 3))
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    chance = 0.30 if radius > 6 else 0.12 if radius > 4 else 0.03
    lobulated = bool(rng.random() < chance)
    strength = rng.uniform(0.15, 0.25) if lobulated else rng.uniform(0.04, 0.1)
    stretch = np.array([1.0, rng.uniform(0.75, 1), rng.uniform(0.75, 1)])
    rng.shuffle(stretch)
    stretch /= np.prod(stretch) ** (1 / 3)
    return NoduleShape(radius, bumps, strength, stretch, lobulated)


def rasterise(
    chest: Chest, center: np.ndarray, shape: NoduleShape
) -> tuple[Region, np.ndarray, np.ndarray]:
    """Region, blurred fraction of the nodule, and fraction of its core.

    Fractions are averaged over a slice's profile, (d, h, w) of the region.
    """
    reach = REACH * shape.radius + EDGE_MM
    region, (z, y, x) = chest.around(center, center, reach)
    z, y, x = z - center[2], y - center[1], x - center[0]
    alpha = np.zeros((len(z), len(y), len(x)))
    core = np.zeros_like(alpha)
    for shift in SUBSLICES:
        grid = np.meshgrid(z + shift * chest.thickness, y, x, indexing='ij')
        distance = shape.distance(np.stack(grid[::-1], -1))
        alpha += inside_fraction(distance) / len(SUBSLICES)
        deeper = distance + CORE * shape.radius
        core += inside_fraction(deeper) / len(SUBSLICES)
    return region, alpha, core


def _draw_density(
    rng: np.random.Generator,
    chest: Chest,
    region: Region,
    core: np.ndarray,
    radius: float,
) -> tuple[np.ndarray, float, str]:
    """HU (d, h, w) of the nodule in a region, of its tissue, and texture."""
    under = chest.hu[region]
    texture = str(rng.choice(TEXTURES, p=TEXTURE_CHANCES))
    grain = rng.normal(0, rng.uniform(10, 40), under.shape)
    plateau = rng.normal(30, 25)
    calcified = rng.random() < (0.17 if radius < 4 else 0.09)
    if texture == 'solid':
        density = (rng.uniform(150, 700) if calcified else plateau) + grain
        return density, plateau, texture
    haze = np.maximum(under, chest.body.hu.lung) + rng.uniform(120, 350)
    density = haze + grain
    if texture == 'part solid':
        density = density + core * (plateau - density)
    return density, plateau, texture


def _subtlety(radius: float, texture: str) -> int:
    grade = 2 + (radius > 2.6) + (radius > 4) + (texture == 'solid')
    return min(max(grade, 1), 5)


def _add_spicules(
    rng: np.random.Generator, chest: Chest, nodule: Nodule, value: float
) -> bool:
    """Thin cones around larger nodules, and a feeding vessel at some.

    Returns:
        Whether the nodule is spiculated.
    """
    radius = nodule.diameter / 2
    spiculated = bool(rng.random() < _spiculation_chance(radius))
    cones = []  # length in radii, radii at base and tip in mm
    if spiculated:
        for _ in range(int(rng.integers(4, 15))):
            length, base = rng.uniform(1.3, 2.0), rng.uniform(0.8, 1.5) / 2
            cones.append((length, base, 0.1))
    if rng.random() < 0.3:
        cones.append((rng.uniform(2.0, 4.0), rng.uniform(0.6, 1.2), 0.5))
    for length, base, tip in cones:
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        chest.add_tube(
            nodule.center + direction * radius * 0.7,
            nodule.center + direction * radius * length,
            radii=(base, tip),
            value=value,
            only_lung=True,
        )
    return spiculated


def _spiculation_chance(radius: float) -> float:
    if radius > 10:
        return 0.5
    if radius > 6:
        return 0.22
    return 0.10 if radius > 4 else 0.02
