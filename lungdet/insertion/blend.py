"""Blending of a shape into a scan: its blur, its structure, its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.special import ndtr

from lungdet.geometry import Geometry, interpolate_axis

WIDE = 2.5  # voxels; sigma of parenchyma without noise
FINE = 0.7  # voxels; sigma of structure such as vessels and walls
STRUCTURE_SIGMAS = 2.0, 4.0  # deviations from parenchyma: none, all structure
NEVER_LUNG_HU = 250.0  # brighter than parenchyma by this is never lung
MIN_SIGMA_MM = 0.2
SLICE_TAILS = 0.15  # sigma that rounds a slice's box, in slices: helical scans
SOFT_HU = (0.0, 110.0)  # smoothed: muscle, blood, organs
LUNG_MAX_HU = -780.0  # smoothed: parenchyma without larger vessels
MIN_NOISE_VOXELS = 400
LEAST_NOISE = 0.4
NORMAL_MAD = 1.48  # standard deviations in a median absolute deviation
NOISE_SIGMAS = 2.5  # what deviates more is not noise
FAINT_HU, COVERING_HU = -400.0, -200.0  # vessels shine through; are covered
FULL_CHANGE_HU = 600.0  # from lung to soft tissue, or nearly


@dataclass(frozen=True)
class Profile:
    """How a scan blurs along an axis of a grid.

    Attributes:
        width_mm: Width of the box of a pixel or slice.
        sigma_mm: Sigma of the point spread.
        samples_mm: Positions of the scan's slices along the axis, from which
            the grid was interpolated linearly; None if they do not lie along
            it, which then counts as more blur.
    """

    width_mm: float
    sigma_mm: float
    samples_mm: np.ndarray | None = None

    def operator(self, at_mm: np.ndarray, fine_mm: np.ndarray) -> np.ndarray:
        """Weights (n, m) of fine cells in the values of a grid.

        Args:
            at_mm: Positions (n,) of the grid's voxels.
            fine_mm: Positions (m,) of the cells, evenly spaced.

        Examples:
            >>> profile = Profile(1.0, 0.5)
            >>> fine = np.linspace(-9.9, 9.9, 100)
            >>> weights = profile.operator(np.array([0.0, 2.0]), fine)
            >>> weights.sum(1).round(3).tolist()
            [1.0, 1.0]
        """
        if self.samples_mm is None:
            # linear interpolation between samples blurs by width^2 / 6
            sigma = np.hypot(self.sigma_mm, self.width_mm / 6**0.5)
            return _box_gauss(at_mm, fine_mm, self.width_mm, sigma)
        native = _box_gauss(
            self.samples_mm, fine_mm, self.width_mm, self.sigma_mm
        )
        first, pitch = self.samples_mm[0], np.diff(self.samples_mm).mean()
        return interpolate_axis(native, (at_mm - first) / pitch, 0)


def _box_gauss(
    at: np.ndarray, fine: np.ndarray, width: float, sigma: float
) -> np.ndarray:
    """A box convolved with a Gaussian, integrated over cells, (n, m)."""
    sigma = max(sigma, MIN_SIGMA_MM)
    edges = np.append(fine, 2 * fine[-1] - fine[-2]) - (fine[1] - fine[0]) / 2
    gap = edges[None, :] - at[:, None]
    upper, lower = (
        _ramp((gap + shift * width / 2) / sigma) * sigma for shift in (1, -1)
    )
    return (np.diff(upper - lower, axis=1) / width).astype(np.float32)


def _ramp(x: np.ndarray) -> np.ndarray:
    """Integral of the normal distribution function."""
    return x * ndtr(x) + np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def scan_profiles(
    grid: Geometry, source: Geometry, psf_mm: float
) -> tuple[Profile, Profile, Profile]:
    """Profiles along a grid's (z, y, x), in mm from its first voxel.

    Slices are taken to be as thick as they are apart: the thickness is not in
    a case's record, and LUNA16's scans were selected by it.

    Args:
        grid: Grid of a crop or a case.
        source: Grid of the scan that it was interpolated from.
        psf_mm: Sigma of the point spread in the scan's plane.
    """
    spacing = source.spacing
    # pixels are square, so the slice axis is the one that differs
    through = int(np.abs(spacing - np.median(spacing)).argmax())
    matrix, offset = source.index_map(grid)
    turns = matrix * spacing[:, None] / grid.spacing  # cosines, by row
    profiles = []
    for axis in range(3):
        part = turns[:, axis] ** 2
        sigma = psf_mm * np.sqrt(np.delete(part, through).sum())
        along = abs(turns[through, axis])
        if along > 0.999:
            samples = _slice_positions(
                matrix[through, axis],
                offset[through],
                grid.shape[axis],
                grid.spacing[axis],
            )
            width = float(spacing[through])
            profiles.append(Profile(width, SLICE_TAILS * width, samples))
        else:
            width = float(np.sqrt((part * spacing**2).sum()))
            profiles.append(Profile(width, float(sigma)))
    return profiles[0], profiles[1], profiles[2]


def _slice_positions(
    step: float, start: float, size: int, spacing: float
) -> np.ndarray:
    """Positions in mm of the slices that a grid's voxels lie between."""
    ends = sorted((start, start + step * (size - 1)))
    index = np.arange(np.floor(ends[0]), np.ceil(ends[1]) + 1)
    positions = (index - start) / step * spacing
    return positions if step > 0 else positions[::-1]


def structure(image: np.ndarray) -> np.ndarray:
    """A region of a scan without its noise.

    Parenchyma is averaged widely; what stands out by more than the noise
    (vessels, walls) is averaged over about a voxel.

    Args:
        image: HU, float32 (z, y, x).

    Returns:
        float32, same shape.
    """
    fine = gaussian_filter(image, FINE, truncate=2.5)
    dark = fine[fine < -500]
    middle = float(np.median(dark)) if dark.size else float(np.median(fine))
    is_lung = (np.abs(fine - middle) < NEVER_LUNG_HU).astype(np.float32)
    weight = gaussian_filter(is_lung, WIDE, truncate=2.5)
    total = gaussian_filter(is_lung * (fine - middle), WIDE, truncate=2.5)
    lung = middle + total / np.maximum(weight, 1e-3)
    above = fine - lung
    inside = np.abs(above[is_lung > 0])
    noise = NORMAL_MAD * float(np.median(inside)) if inside.size else 1.0
    low, high = STRUCTURE_SIGMAS
    kept = np.clip(
        (np.abs(above) / max(noise, 1.0) - low) / (high - low), 0, 1
    )
    return lung + kept * above


def tissue_noise(image: np.ndarray, lungs: np.ndarray) -> float:
    """Noise in soft tissue as a fraction of that in parenchyma.

    Parenchyma without its structure still contains noise and vessels too fine
    to see, so it varies more than a nodule in the same scan.

    Args:
        image: HU (z, y, x); every third slice is used.
        lungs: Its lungs, nonzero inside.

    Returns:
        At most 1; 1 if there is too little of either.

    Examples:
        >>> noise = np.random.default_rng(0).normal(0, 20, (9, 40, 40))
        >>> lungs = np.zeros(noise.shape)
        >>> lungs[:, :, :20] = 1
        >>> image = np.where(lungs, 2 * noise - 870, noise + 40)
        >>> round(tissue_noise(image, lungs), 1)
        0.5
    """
    planes = image[::3].astype(np.float32)
    smooth = uniform_filter(planes, (0, 5, 5))
    fine = planes - uniform_filter(planes, (0, 3, 3))
    inside = lungs[::3] != 0
    soft = ~inside & (smooth > SOFT_HU[0]) & (smooth < SOFT_HU[1])
    dark = inside & (smooth < LUNG_MAX_HU)
    if min(soft.sum(), dark.sum()) < MIN_NOISE_VOXELS:
        return 1.0
    ratio = np.median(np.abs(fine[soft])) / np.median(np.abs(fine[dark]))
    return float(np.clip(ratio, LEAST_NOISE, 1))


def blend_tissue(
    image: np.ndarray,
    alpha: np.ndarray,
    tissue: np.ndarray,
    noise: float = 1.0,
) -> np.ndarray:
    """Replace the structure of a region by tissue; its noise stays.

    A solid nodule hides a vessel that runs into it; through a faint one, the
    vessel shows as before.

    Args:
        image: HU, float32 (z, y, x).
        alpha: Fraction of each voxel that is inside, blurred.
        tissue: HU inside, without noise.
        noise: As in ``tissue_noise``: how much of the region's noise stays
            where lung becomes soft tissue.
    """
    still = structure(image)
    change = tissue - still
    covers = np.clip((tissue - FAINT_HU) / (COVERING_HU - FAINT_HU), 0, 1)
    change = np.where(change > 0, change, covers * change)
    rest = image - still
    spread = NORMAL_MAD * float(np.median(np.abs(rest)))
    limit = noise * NOISE_SIGMAS * spread
    kept = np.clip(noise * rest, -limit, limit)
    was_lung = np.clip(change / FULL_CHANGE_HU, 0, 1)
    return image + alpha * (change + was_lung * (kept - rest))
