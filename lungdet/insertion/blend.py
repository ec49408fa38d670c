"""Blending of a shape into a scan: blur, structure and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.special import ndtr

from lungdet.geometry import Geometry, interpolate_axis

WIDE = 2.5  # voxels; sigma that smooths parenchyma
FINE = 0.7  # voxels; sigma that smooths structure, such as vessels and walls
# deviations from parenchyma, in standard deviations of the noise: noise only
# below the first, structure only above the second
STRUCTURE_SIGMAS = 2.0, 4.0
NEVER_LUNG_HU = 250.0  # voxels that differ this much from parenchyma: not lung
MIN_SIGMA_MM = 0.2
# sigma of the slice profile's tails, in slice thicknesses (helical scans)
SLICE_TAILS = 0.15
SOFT_HU = (0.0, 110.0)  # of smoothed soft tissue: muscle, blood, organs
LUNG_MAX_HU = -780.0  # of smoothed parenchyma without larger vessels
MIN_NOISE_VOXELS = 400
LEAST_NOISE = 0.4
NORMAL_MAD = 1.48  # standard deviation / median absolute deviation
NOISE_SIGMAS = 2.5  # larger deviations are not noise
# tissue below the first HU hides no vessel, above the second it hides all
FAINT_HU, COVERING_HU = -400.0, -200.0
FULL_CHANGE_HU = 600.0  # about the change from lung to soft tissue


@dataclass(frozen=True)
class Profile:
    """The blur of a scan along one axis of a grid.

    Attributes:
        width_mm: Width of a pixel or slice, modelled as a box.
        sigma_mm: Sigma of the point spread function.
        samples_mm: Positions of the scan's slices along the axis, if the grid
            was interpolated linearly between them. None if the axis is not
            perpendicular to the slices; interpolation then counts as blur.
    """

    width_mm: float
    sigma_mm: float
    samples_mm: np.ndarray | None = None

    def operator(self, at_mm: np.ndarray, fine_mm: np.ndarray) -> np.ndarray:
        """Weights (n, m) of fine cells in the voxels of a grid.

        Args:
            at_mm: Positions (n,) of the voxels in mm.
            fine_mm: Positions (m,) of the cells in mm, evenly spaced.

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
    """Box function convolved with a Gaussian, integrated over cells (n, m)."""
    sigma = max(sigma, MIN_SIGMA_MM)
    edges = np.append(fine, 2 * fine[-1] - fine[-2]) - (fine[1] - fine[0]) / 2
    gap = edges[None, :] - at[:, None]
    upper, lower = (
        _ramp((gap + shift * width / 2) / sigma) * sigma for shift in (1, -1)
    )
    return (np.diff(upper - lower, axis=1) / width).astype(np.float32)


def _ramp(x: np.ndarray) -> np.ndarray:
    """Integral of the cumulative normal distribution."""
    return x * ndtr(x) + np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def scan_profiles(
    grid: Geometry, source: Geometry, psf_mm: float
) -> tuple[Profile, Profile, Profile]:
    """Profiles along the axes (z, y, x) of a grid, in mm from its first voxel.

    The slice thickness is not in the record of a case; it is assumed to equal
    the slice spacing.

    Args:
        grid: Grid of a crop or a case.
        source: Grid of the scan that it was interpolated from.
        psf_mm: Sigma of the in-plane point spread function.
    """
    spacing = source.spacing
    # pixels are square, so the spacing of the slice axis differs
    through = int(np.abs(spacing - np.median(spacing)).argmax())
    matrix, offset = source.index_map(grid)
    turns = matrix * spacing[:, None] / grid.spacing  # direction cosines
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
    """Positions in mm of all slices that a grid's voxels lie between."""
    ends = sorted((start, start + step * (size - 1)))
    index = np.arange(np.floor(ends[0]), np.ceil(ends[1]) + 1)
    positions = (index - start) / step * spacing
    return positions if step > 0 else positions[::-1]


def structure(image: np.ndarray) -> np.ndarray:
    """Estimate a region of a scan without noise.

    Parenchyma is smoothed with a wide kernel; structures that exceed the noise
    (vessels, walls) with a kernel of about a voxel.

    Args:
        image: HU, float32 (z, y, x).

    Returns:
        HU, float32, same shape.
    """
    fine = gaussian_filter(image, FINE, truncate=2.5)
    dark = fine[fine < -500]
    middle = float(np.median(dark)) if dark.size else float(np.median(fine))
    is_lung = (np.abs(fine - middle) < NEVER_LUNG_HU).astype(np.float32)
    both = np.stack([is_lung, is_lung * (fine - middle)])
    weight, total = gaussian_filter(both, (0, WIDE, WIDE, WIDE), truncate=2.5)
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
    """Noise in soft tissue relative to parenchyma.

    Besides noise, parenchyma contains vessels too fine to resolve, so it
    varies more than a nodule in the same scan.

    Args:
        image: HU (z, y, x); every third slice is used.
        lungs: Lung mask, nonzero inside, of the same shape.

    Returns:
        A ratio of at most 1; 1 if there are too few voxels of either.

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
    noise = float(np.median(np.abs(fine[dark])))
    if not noise:  # a drawn image
        return 1.0
    ratio = np.median(np.abs(fine[soft])) / noise
    return float(np.clip(ratio, LEAST_NOISE, 1))


def blend_tissue(
    image: np.ndarray,
    alpha: np.ndarray,
    tissue: np.ndarray,
    noise: float = 1.0,
) -> np.ndarray:
    """Replace the structure of a region with tissue, but keep its noise.

    A solid nodule covers a vessel that runs into it; through a faint nodule,
    the vessel remains visible.

    Args:
        image: HU, float32 (z, y, x).
        alpha: Fraction of each voxel inside the shape, blurred; same shape.
        tissue: HU of the inserted tissue, without noise; same shape.
        noise: Fraction of the noise to keep where lung becomes soft tissue;
            see ``tissue_noise``.
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
