"""Augmentation of HU, as by another scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.transforms.base import Sample, Transform, draw_seed
from lungdet.hounsfield import LUNG_WINDOW, Window
from lungdet.registry import TRANSFORMS


@dataclass(frozen=True)
class HUShiftScaleParams:
    """HU become ``HU * factor + shift_hu``; the defaults change nothing."""

    factor: float = 1.0
    shift_hu: float = 0.0


@TRANSFORMS.register_module()
class RandomHUShiftScale(Transform[HUShiftScaleParams]):
    """Shift and stretch HU about water.

    Args:
        shift: Largest shift in HU.
        scale: Largest relative change of contrast.
        prob: How often.
    """

    def __init__(
        self, shift: float = 40.0, scale: float = 0.1, *, prob: float = 0.3
    ) -> None:
        self.shift, self.scale, self.prob = shift, scale, prob

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> HUShiftScaleParams:
        if rng.random() >= self.prob:
            return HUShiftScaleParams()
        return HUShiftScaleParams(
            1 + float(rng.uniform(-self.scale, self.scale)),
            float(rng.uniform(-self.shift, self.shift)),
        )

    def apply(self, sample: Sample, params: HUShiftScaleParams) -> Sample:
        if params == HUShiftScaleParams():
            return sample
        stretched = _float(sample['image']) * np.float32(params.factor)
        return {**sample, 'image': stretched + np.float32(params.shift_hu)}


@dataclass(frozen=True)
class GammaParams:
    """Exponent of the curve; 1 changes nothing."""

    exponent: float = 1.0


@TRANSFORMS.register_module()
class RandomGamma(Transform[GammaParams]):
    """Apply a gamma curve inside a HU window; HU outside do not change.

    Args:
        gamma: Range of the exponent, drawn evenly on a log scale.
        window: HU interval; its ends do not change.
        prob: How often.
    """

    def __init__(
        self,
        gamma: Sequence[float] = (0.7, 1.5),
        window: Sequence[float] = LUNG_WINDOW,
        *,
        prob: float = 0.3,
    ) -> None:
        self.gamma, self.window = tuple(gamma), Window(*window)
        self.prob = prob

    def draw(self, rng: np.random.Generator, sample: Sample) -> GammaParams:
        if rng.random() >= self.prob:
            return GammaParams()
        return GammaParams(float(np.exp(rng.uniform(*np.log(self.gamma)))))

    def apply(self, sample: Sample, params: GammaParams) -> Sample:
        if params == GammaParams():
            return sample
        low, high = self.window
        image = _float(sample['image'])
        intensity = self.window.normalize(image)
        bend = intensity ** np.float32(params.exponent) - intensity
        return {**sample, 'image': image + bend * np.float32(high - low)}


@dataclass(frozen=True)
class NoiseBlurParams:
    """Noise or blur; the defaults change nothing.

    Attributes:
        noise_hu: Standard deviation of the noise in HU.
        noise_seed: Of the noise.
        blur: Sigma in voxels.
    """

    noise_hu: float = 0.0
    noise_seed: int = 0
    blur: float = 0.0


@TRANSFORMS.register_module()
class RandomNoiseBlur(Transform[NoiseBlurParams]):
    """Another dose or kernel: white noise, or an in-plane blur.

    Args:
        noise: Range of the noise's standard deviation in HU.
        blur: Range of the blur's sigma in voxels, in the axial plane.
        prob: How often; noise and blur then are equally likely.
    """

    def __init__(
        self,
        noise: Sequence[float] = (5.0, 40.0),
        blur: Sequence[float] = (0.4, 0.9),
        *,
        prob: float = 0.2,
    ) -> None:
        self.noise, self.blur, self.prob = tuple(noise), tuple(blur), prob

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> NoiseBlurParams:
        if rng.random() >= self.prob:
            return NoiseBlurParams()
        if rng.random() < 0.5:
            low, high = self.noise
            noise_hu = float(rng.uniform(low, high))
            return NoiseBlurParams(noise_hu, noise_seed=draw_seed(rng))
        low, high = self.blur
        return NoiseBlurParams(blur=float(rng.uniform(low, high)))

    def apply(self, sample: Sample, params: NoiseBlurParams) -> Sample:
        if params == NoiseBlurParams():
            return sample
        image = _float(sample['image'])
        if params.blur:
            from scipy.ndimage import gaussian_filter

            sigma = (0, params.blur, params.blur)
            blurred = gaussian_filter(image, sigma, truncate=3)
            return {**sample, 'image': blurred}
        rng = np.random.default_rng(params.noise_seed)
        noise = rng.standard_normal(image.shape, np.float32)
        return {**sample, 'image': image + np.float32(params.noise_hu) * noise}


def _float(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32, copy=False)
