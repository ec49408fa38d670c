"""Augmentation of HU, imitating another scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.hounsfield import LUNG_WINDOW, Window
from lungdet.registry import TRANSFORMS
from lungdet.seeds import draw_seed


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
    """A gamma curve.

    Attributes:
        exponent: Exponent of the intensity; 1 changes nothing.
        window: HU interval (low, high) that is bent.
    """

    exponent: float = 1.0
    window: Sequence[float] = LUNG_WINDOW


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
        self.gamma, self.window = tuple(gamma), tuple(window)
        self.prob = prob

    def draw(self, rng: np.random.Generator, sample: Sample) -> GammaParams:
        if rng.random() >= self.prob:
            return GammaParams()
        exponent = float(np.exp(rng.uniform(*np.log(self.gamma))))
        return GammaParams(exponent, self.window)

    def apply(self, sample: Sample, params: GammaParams) -> Sample:
        if params.exponent == 1:
            return sample
        low, high = params.window
        image = _float(sample['image'])
        intensity = Window(low, high).normalize(image)
        bend = intensity ** np.float32(params.exponent) - intensity
        return {**sample, 'image': image + bend * np.float32(high - low)}


@dataclass(frozen=True)
class NoiseParams:
    """White noise.

    Attributes:
        noise_hu: Standard deviation in HU; 0 changes nothing.
        seed: Seed of the noise.
    """

    noise_hu: float = 0.0
    seed: int = 0


@TRANSFORMS.register_module()
class RandomNoise(Transform[NoiseParams]):
    """Add white noise, as of a lower dose.

    Args:
        noise: Range of the noise's standard deviation in HU.
        prob: How often.
    """

    def __init__(
        self, noise: Sequence[float] = (5.0, 40.0), *, prob: float = 0.1
    ) -> None:
        self.noise, self.prob = tuple(noise), prob

    def draw(self, rng: np.random.Generator, sample: Sample) -> NoiseParams:
        if rng.random() >= self.prob:
            return NoiseParams()
        low, high = self.noise
        return NoiseParams(float(rng.uniform(low, high)), draw_seed(rng))

    def apply(self, sample: Sample, params: NoiseParams) -> Sample:
        if not params.noise_hu:
            return sample
        image = _float(sample['image'])
        rng = np.random.default_rng(params.seed)
        noise = rng.standard_normal(image.shape, np.float32)
        return {**sample, 'image': image + np.float32(params.noise_hu) * noise}


@dataclass(frozen=True)
class BlurParams:
    """Sigma of a Gaussian in voxels, in the axial plane; 0 changes nothing."""

    sigma: float = 0.0


@TRANSFORMS.register_module()
class RandomBlur(Transform[BlurParams]):
    """Blur axial planes, as a softer kernel does.

    Args:
        sigma: Range of the Gaussian's sigma in voxels.
        prob: How often.
    """

    def __init__(
        self, sigma: Sequence[float] = (0.4, 0.9), *, prob: float = 0.1
    ) -> None:
        self.sigma, self.prob = tuple(sigma), prob

    def draw(self, rng: np.random.Generator, sample: Sample) -> BlurParams:
        if rng.random() >= self.prob:
            return BlurParams()
        low, high = self.sigma
        return BlurParams(float(rng.uniform(low, high)))

    def apply(self, sample: Sample, params: BlurParams) -> Sample:
        if not params.sigma:
            return sample
        from scipy.ndimage import gaussian_filter

        sigma = (0, params.sigma, params.sigma)
        blurred = gaussian_filter(_float(sample['image']), sigma, truncate=3)
        return {**sample, 'image': blurred}


def _float(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32, copy=False)
