"""The same patient on another scanner: thicker slices, other noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.errors import ConfigError
from lungdet.registry import TRANSFORMS
from lungdet.seeds import draw_seed

MAX_CORRELATION = 0.7  # three taps reach the square root of one half


@dataclass(frozen=True)
class SliceThicknessParams:
    """Thickness of the slices in voxels along z; 0 changes nothing."""

    thickness: float = 0.0


@TRANSFORMS.register_module()
class RandomSliceThickness(Transform[SliceThicknessParams]):
    """Average along z as thicker slices do, with a box profile.

    The gap between slices is not simulated: each voxel becomes the thick slice
    centred on it, like overlapping reconstructions of a scanner.

    Args:
        thickness: Range of the thickness in mm, drawn evenly.
        prob: How often.
    """

    def __init__(
        self, thickness: Sequence[float] = (0.6, 3.0), *, prob: float = 0.2
    ) -> None:
        self.thickness, self.prob = tuple(thickness), prob

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> SliceThicknessParams:
        if rng.random() >= self.prob:
            return SliceThicknessParams()
        thinnest, thickest = self.thickness
        thickness_mm = float(rng.uniform(thinnest, thickest))
        # of the crop, which may be magnified
        along_z = float(sample['geometry'].spacing[0])
        return SliceThicknessParams(thickness_mm / along_z)

    def apply(self, sample: Sample, params: SliceThicknessParams) -> Sample:
        if not params.thickness:
            return sample
        from scipy.ndimage import correlate1d

        image = sample['image'].astype(np.float32, copy=False)
        taps = slice_profile(params.thickness)
        blurred = correlate1d(image, taps, axis=0, mode='nearest')
        return {**sample, 'image': blurred}


def slice_profile(thickness: float) -> np.ndarray:
    """Weights of the voxels around one in a slice centred at it.

    The mean of the linearly interpolated image over the slice.

    Args:
        thickness: In voxels, > 0.

    Returns:
        Weights (2 k + 1,), symmetric, of sum 1.

    Examples:
        >>> slice_profile(2.0)
        array([0.25, 0.5 , 0.25])
    """
    reach = int(np.ceil(thickness / 2))
    offsets = np.arange(-reach, reach + 1)
    high, low = thickness / 2 - offsets, -thickness / 2 - offsets
    return (_hat_integral(high) - _hat_integral(low)) / thickness


def _hat_integral(x: np.ndarray) -> np.ndarray:
    """Integral up to x of the hat function of linear interpolation."""
    x = np.clip(x, -1, 1)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)


@dataclass(frozen=True)
class CorrelatedNoiseParams:
    """Noise of a kernel and a dose.

    Attributes:
        noise_hu: Standard deviation in HU; 0 changes nothing.
        correlation: Correlation of neighbouring voxels along (z, y, x).
        seed: Seed of the noise.
    """

    noise_hu: float = 0.0
    correlation: Sequence[float] = (0.0, 0.0, 0.0)
    seed: int = 0


@TRANSFORMS.register_module()
class RandomCorrelatedNoise(Transform[CorrelatedNoiseParams]):
    """Add noise of another dose and kernel.

    A soft kernel gives quiet noise with correlated neighbours, a sharp one
    loud noise without correlation, so both are drawn together. The standard
    deviation in HU is that of the noise that is added, whatever its
    correlation.

    Args:
        noise: Range of the standard deviation in HU, drawn evenly on a log
            scale.
        in_plane: Range of the correlation of neighbours in a slice: the
            loudest noise tends to the first, the quietest to the second.
        along_z: Range of the correlation of neighbouring slices.
        prob: How often.

    Raises:
        ConfigError: A correlation below 0 or above 0.7, or noise of 0.
    """

    def __init__(
        self,
        noise: Sequence[float] = (5.0, 40.0),
        in_plane: Sequence[float] = (0.0, 0.65),
        *,
        along_z: Sequence[float] = (0.3, 0.7),
        prob: float = 0.2,
    ) -> None:
        for value in (*in_plane, *along_z):
            if not 0 <= value <= MAX_CORRELATION:
                raise ConfigError(
                    f'RandomCorrelatedNoise: a correlation of {value}; give '
                    f'0 to {MAX_CORRELATION}.'
                )
        if min(noise) <= 0:
            raise ConfigError(
                f'RandomCorrelatedNoise.noise: {min(noise)} HU cannot be on a '
                'log scale; give more than 0.'
            )
        self.noise, self.prob = tuple(noise), prob
        self.in_plane, self.along_z = tuple(in_plane), tuple(along_z)

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> CorrelatedNoiseParams:
        if rng.random() >= self.prob:
            return CorrelatedNoiseParams()
        loudness = rng.random()
        quietest, loudest = np.log(self.noise)
        noise_hu = np.exp(quietest + loudness * (loudest - quietest))
        sharpness = np.clip(loudness + rng.uniform(-0.3, 0.3), 0, 1)
        sharp, soft = self.in_plane
        lowest, highest = self.along_z
        in_plane = float(soft + sharpness * (sharp - soft))
        return CorrelatedNoiseParams(
            float(noise_hu),
            (float(rng.uniform(lowest, highest)), in_plane, in_plane),
            draw_seed(rng),
        )

    def apply(self, sample: Sample, params: CorrelatedNoiseParams) -> Sample:
        if not params.noise_hu:
            return sample
        image = sample['image'].astype(np.float32, copy=False)
        noise = correlated_noise(image.shape, params.correlation, params.seed)
        return {**sample, 'image': image + np.float32(params.noise_hu) * noise}


def correlated_noise(
    shape: Sequence[int], correlation: Sequence[float], seed: int
) -> np.ndarray:
    """Gaussian noise of standard deviation 1.

    White noise is averaged over three voxels along each axis.

    Args:
        shape: (D, H, W).
        correlation: Correlation of neighbours along each axis, 0 to 0.7.
        seed: Seed of the noise.

    Returns:
        float32 of ``shape``; border voxels have the same statistics.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal([side + 2 for side in shape], np.float32)
    for axis, rho in enumerate(correlation):
        # the weight a of the neighbours solves rho = 2 a / (1 + 2 a^2)
        side = (1 - np.sqrt(1 - 2 * rho**2)) / (2 * rho) if rho else 0.0
        middle = 1 / np.sqrt(1 + 2 * side**2)
        parts = [
            noise[(slice(None),) * axis + (slice(k, k + shape[axis]),)]
            for k in range(3)
        ]
        noise = np.float32(middle) * parts[1] + np.float32(middle * side) * (
            parts[0] + parts[2]
        )
    return noise
