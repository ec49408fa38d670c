"""Donors: shapes without blur, and their tissue without noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter

from lungdet.geometry import sphere_diameter
from lungdet.hounsfield import AIR_HU
from lungdet.io.nodule_library import LibraryNodule

TYPICAL_LUNG_HU = -870.0  # used if a crop has too few voxels of lung
MIN_LUNG_VOXELS = 30
NOISE_MM = 0.6  # sigma of the smoothing before a surface is traced
TISSUE_MM = 1.2  # sigma of the smoothing of tissue: keeps coarse variation
IN_PLANE = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool)
MIN_CORE_VOXELS = 20
SOLID_QUANTILE, FAINT_QUANTILE = 0.75, 0.55  # of the HU: level of the nodule
SOLID_TEXTURE = 4  # smallest rating of texture by which a nodule is solid
MIN_SOLID_HU = -450  # a darker nodule is not solid
MAX_GAIN = 1.6  # largest correction of contrast lost by the scan's blur
BRIGHTEST_HU = 80.0  # tissue is not brightened beyond this


@dataclass(frozen=True, eq=False)
class Donor:
    """A nodule, or a piece of a scan, without the blur of a scan.

    Attributes:
        level: float32 (z, y, x), 1 inside and 0 outside; the surface is where
            the linearly interpolated level is one half.
        tissue: HU, float32, same shape; continues smoothly beyond the surface.
        spacing: Spacing (z, y, x) in mm.
        center: Index (z, y, x) of the shape's centre of mass.
        site: As in ``LibraryNodule``.
        wall_direction: As in ``LibraryNodule``.
        wall_mm: Distance of the surface from the adjacent pleura in mm.
    """

    level: np.ndarray
    tissue: np.ndarray
    spacing: np.ndarray
    center: np.ndarray
    site: str = 'parenchyma'
    wall_direction: tuple[float, float] | None = None
    wall_mm: float = 0.0

    @property
    def diameter_mm(self) -> float:
        """Diameter in mm of the sphere of equal volume."""
        inside = self.level > 0.5
        volume = float(inside.sum()) * float(np.prod(self.spacing))
        return sphere_diameter(volume)


def donor_of_nodule(nodule: LibraryNodule) -> Donor:
    """Trace a nodule's surface, and estimate its tissue without noise.

    The readers' mask is a millimetre or two wider than the nodule, and the
    scan blurs the nodule's edge. The surface is placed inside the mask, where
    the HU is half-way between nodule and lung. Blur preserves the sum of the
    contrast: if the modelled nodule has less than the scan, thick slices have
    dimmed a small nodule, and its tissue is made brighter.

    Args:
        nodule: Nodule of a library.
    """
    hu, mask, spacing = _around(nodule)
    lung = lung_level(hu, ~mask)
    smooth = gaussian_filter(hu, NOISE_MM / spacing * (0.5, 1, 1), truncate=3)
    solid = nodule.ratings.get('Texture', 5) >= SOLID_TEXTURE
    bright = float(np.quantile(smooth[mask], SOLID_QUANTILE))
    if not solid or bright < MIN_SOLID_HU:
        bright = float(np.quantile(smooth[mask], FAINT_QUANTILE))
    bright = max(bright, lung + 100)
    level = np.clip((smooth - lung) / (bright - lung), 0, 1)
    level = np.where(mask, level, 0).astype(np.float32)
    if not (level > 0.5).any():
        level = mask.astype(np.float32)
    tissue = _smooth_tissue(hu, level, bright, spacing)
    measured = float((hu - lung)[mask].sum())
    modelled = float((tissue - lung)[level > 0.5].sum())
    gain = float(np.clip(measured / max(modelled, 1.0), 1, MAX_GAIN))
    lifted = lung + gain * (tissue - lung)
    tissue = np.minimum(lifted, np.maximum(tissue, BRIGHTEST_HU))
    return Donor(
        level,
        tissue.astype(np.float32),
        spacing,
        center_of(level),
        nodule.site,
        nodule.wall_direction,
        nodule.wall_mm or 0.0,
    )


def center_of(level: np.ndarray) -> np.ndarray:
    """Index (3,) of the centre of mass of the inside."""
    return np.argwhere(level > 0.5).mean(0)


def lung_level(hu: np.ndarray, outside: np.ndarray) -> float:
    """Median HU of the lung voxels among those of ``outside``."""
    dark = hu[outside & (hu < AIR_HU)]
    if dark.size < MIN_LUNG_VOXELS:
        return TYPICAL_LUNG_HU
    return float(np.median(dark))


def _around(
    nodule: LibraryNodule,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, mask and spacing of the surroundings of the mask, padded by one
    voxel."""
    spacing = np.array(nodule.spacing)
    inside = np.argwhere(nodule.mask)
    pad = np.ceil(3 / spacing).astype(int)
    low = np.maximum(inside.min(0) - pad, 0)
    high = np.minimum(inside.max(0) + pad + 1, nodule.mask.shape)
    part = tuple(slice(a, b) for a, b in zip(low, high))
    hu = np.pad(nodule.hu[part].astype(np.float32), 1, mode='edge')
    return hu, np.pad(nodule.mask[part], 1), spacing


def _smooth_tissue(
    hu: np.ndarray, level: np.ndarray, bright: float, spacing: np.ndarray
) -> np.ndarray:
    """HU of the core, smoothed and extended outwards."""
    core = level > 0.8
    inner = binary_erosion(core, IN_PLANE)
    if inner.sum() >= MIN_CORE_VOXELS:  # erosion leaves enough voxels
        core = inner
    core = core.astype(np.float32)
    sigma = TISSUE_MM / spacing
    weight = gaussian_filter(core, sigma, truncate=3)
    total = gaussian_filter(core * hu, sigma, truncate=3)
    few = 0.02  # weight of the nodule's level, where little core is in reach
    return (total + few * bright) / (weight + few)
