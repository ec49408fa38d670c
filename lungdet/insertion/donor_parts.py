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
# A piece of a scan must not look like a nodule, or a detector would learn that
# nodules are background. Parenchyma with more contrast contains a vessel; a
# vessel that is thicker (standard deviations along its axes, the second over
# the first) is round. Outside its core (in radii) a piece of a vessel or wall
# becomes thinner, so that it has no cut end.
MAX_CONTRAST_HU = 150.0
MAX_THICKNESS = 0.4
MIN_VESSEL_VOXELS = 8
CORE = 0.3
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
            only the tissue in it, which becomes thinner towards the ball's
            surface.

    Returns:
        None if there is no such tissue, or the piece could be taken for a
        nodule: parenchyma with a vessel that ends at the ball's surface, or
        a vessel that is round.
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
    away = np.sqrt(axes[0][:, None, None] + axes[1][:, None] + axes[2])
    level = _level_of_piece(hu, away / radius_mm, site)
    if level is None or not _is_plausible(level, spacing, site):
        return None
    level = np.pad(level, 1)
    # a piece of wall is inserted at a wall, centred on a point of the pleura
    middle = center - low + 1.0 if site == 'pleura' else center_of(level)
    return Donor(level, np.pad(hu, 1, mode='edge'), spacing, middle, site)


def _level_of_piece(
    hu: np.ndarray, away: np.ndarray, site: str
) -> np.ndarray | None:
    """``Donor.level`` of a piece; None if it is nothing but air, or if a
    vessel runs through its parenchyma.

    Args:
        hu: HU without noise.
        away: Distance of each voxel from the centre, in radii.
        site: As in ``donor_of_scan``.
    """
    ball = away <= 1
    if site == 'parenchyma':
        contrast = np.ptp(np.quantile(hu[ball], (0.5, 0.995)))
        return None if contrast > MAX_CONTRAST_HU else ball.astype(np.float32)
    lung = lung_level(hu, ball)
    bright = float(np.quantile(hu[ball], 0.98))
    if bright < lung + 200:
        return None
    tissue = np.clip((hu - lung) / (bright - lung), 0, 1)
    return (tissue * np.clip((1 - away) / (1 - CORE), 0, 1)).astype(np.float32)


def _is_plausible(level: np.ndarray, spacing: np.ndarray, site: str) -> bool:
    """Whether a piece is not empty and, if it is a vessel, long and thin."""
    points = np.argwhere(level > 0.5) * spacing
    if site != 'vessel':
        return len(points) > 0
    if len(points) < MIN_VESSEL_VOXELS:
        return False
    _, second, first = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
    return bool(second < MAX_THICKNESS * first)
