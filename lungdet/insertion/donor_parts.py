"""Donors other than library nodules: parametric shapes, pieces of a scan."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from lungdet.insertion.blend import structure
from lungdet.insertion.donor import (
    TYPICAL_LUNG_HU,
    Donor,
    center_of,
    lung_level,
)
from lungdet.phantom.nodules import (
    TEXTURE_CHANCES,
    TEXTURES,
    draw_nodule_shape,
)
from lungdet.phantom.surfaces import capsule_distance

SITE_CHANCES = {'parenchyma': 0.4, 'vessel': 0.35, 'pleura': 0.25}
CALCIFIED_CHANCE = 0.1
REACH = 1.8  # extent of bumps and spicules, in radii
GRAIN_MM = 1.0  # sigma of the variation within a nodule
SHAPE_CELLS = 18  # cells along the diameter of a parametric shape
MIN_STEP_MM, MAX_STEP_MM = 0.25, 1.0
# a vessel that fills more of its ball than this is as round as a nodule
MAX_VESSEL_FRACTION = 0.2
# (smallest diameter in mm, fraction of nodules with spicules)
SPICULATION = ((20, 0.5), (12, 0.22), (8, 0.1), (0, 0.02))


@lru_cache(maxsize=16)  # draw and apply both need the donor
def parametric_donor(seed: int, diameter_mm: float, site: str) -> Donor:
    """A stretched sphere with bumps, lobes or spicules, of random density.

    Args:
        seed: Seed of all random draws.
        diameter_mm: Diameter without bumps.
        site: As in ``Donor``.

    Source: statistics of the LIDC readers' tables, as in
        ``lungdet.phantom.nodules``.
    """
    rng = np.random.default_rng(seed)
    radius = diameter_mm / 2
    shape = draw_nodule_shape(rng, radius)
    step = float(np.clip(diameter_mm / SHAPE_CELLS, MIN_STEP_MM, MAX_STEP_MM))
    count = 2 * int(np.ceil(REACH * radius / step)) + 1
    line = (np.arange(count) - count // 2) * step
    z, y, x = np.meshgrid(line, line, line, indexing='ij')
    distance = shape.distance(np.stack([x, y, z], -1))
    core = distance + 0.5 * radius
    distance = np.minimum(distance, _spicules(rng, radius, (z, y, x)))
    level = np.clip(0.5 - distance / step, 0, 1).astype(np.float32)
    return Donor(
        level,
        _density(rng, core, step).astype(np.float32),
        np.full(3, step),
        center_of(level),
        site,
        (0.0, 1.0) if site == 'pleura' else None,
    )


def _spicules(
    rng: np.random.Generator,
    radius: float,
    local_zyx: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray | float:
    """Distance to random spicules (thin cones); infinite if there are none."""
    chance = next(p for least, p in SPICULATION if 2 * radius >= least)
    if rng.random() >= chance:
        return np.inf
    nearest: np.ndarray | float = np.inf
    for _ in range(int(rng.integers(4, 15))):
        along = rng.normal(size=3)
        along *= radius * rng.uniform(1.3, 1.8) / np.linalg.norm(along)
        base = rng.uniform(0.8, 1.5) / 2
        cone = capsule_distance(local_zyx, along, (base, 0.1))
        nearest = np.minimum(nearest, cone)
    return nearest


def _density(
    rng: np.random.Generator, core: np.ndarray, step: float
) -> np.ndarray:
    """HU of a parametric nodule of random texture."""
    texture = str(rng.choice(TEXTURES, p=TEXTURE_CHANCES))
    plateau, haze = rng.normal(30, 25), TYPICAL_LUNG_HU + rng.uniform(150, 380)
    if rng.random() < CALCIFIED_CHANCE:
        plateau = rng.uniform(150, 700)
    grain = gaussian_filter(rng.normal(size=core.shape), GRAIN_MM / step)
    grain *= rng.uniform(10, 40) / max(float(grain.std()), 1e-6)
    if texture == 'solid':
        return plateau + grain
    if texture == 'ground glass':
        return haze + grain
    solid = np.clip(0.5 - core / step, 0, 1)
    return haze + solid * (plateau - haze) + grain


def donor_of_scan(
    image: np.ndarray,
    spacing: np.ndarray,
    center: tuple[int, int, int],
    radius_mm: float,
    site: str,
) -> Donor | None:
    """A piece of a scan that is not a nodule, for a sham insertion.

    Args:
        image: HU (z, y, x).
        spacing: Spacing (z, y, x) in mm.
        center: Voxel (z, y, x) at the centre of the piece.
        radius_mm: Radius of the ball that is cut out, in mm.
        site: ``'parenchyma'``: the whole ball; ``'vessel'`` or ``'pleura'``:
            only the tissue in it.

    Returns:
        None if there is no such tissue, or the vessel is as round as a nodule.
    """
    reach = np.ceil(radius_mm / spacing).astype(int) + 2
    low = np.maximum(np.array(center) - reach, 0)
    high = np.minimum(np.array(center) + reach + 1, image.shape)
    part = tuple(slice(a, b) for a, b in zip(low, high))
    hu = structure(image[part].astype(np.float32))
    axes = [
        ((np.arange(a, b) - c) * s) ** 2
        for a, b, c, s in zip(low, high, center, spacing)
    ]
    square = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    ball = square <= radius_mm**2
    level = ball.astype(np.float32)
    if site != 'parenchyma':
        lung = lung_level(hu, ball)
        bright = float(np.quantile(hu[ball], 0.98))
        if bright < lung + 200:
            return None
        fraction = np.clip((hu - lung) / (bright - lung), 0, 1)
        level = np.where(ball, fraction, 0).astype(np.float32)
    filled = float((level > 0.5).sum() / max(ball.sum(), 1))
    if filled == 0 or (site == 'vessel' and filled > MAX_VESSEL_FRACTION):
        return None
    level = np.pad(level, 1)
    # a piece of wall is inserted at a wall, centred on a point of the pleura
    middle = center - low + 1.0 if site == 'pleura' else center_of(level)
    return Donor(level, np.pad(hu, 1, mode='edge'), spacing, middle, site)
