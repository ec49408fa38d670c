"""What another scanner would have made of the same chest, in HU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from lungdet.hounsfield import LUNG_WINDOW, Window
from lungdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomHUShiftScale(BaseTransform):
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

    def draw(self, results: dict) -> tuple[float, float] | None:
        """Factor and shift, None to leave the crop alone."""
        rng = results['rng']
        if rng.random() >= self.prob:
            return None
        return (
            1 + float(rng.uniform(-self.scale, self.scale)),
            float(rng.uniform(-self.shift, self.shift)),
        )

    def transform(self, results: dict) -> dict:
        drawn = self.draw(results)
        if drawn is not None:
            image = results['image'].astype(np.float32, copy=False)
            results['image'] = image * np.float32(drawn[0]) + np.float32(
                drawn[1]
            )
        return results


@TRANSFORMS.register_module()
class RandomGamma(BaseTransform):
    """Bend the grey scale inside a HU window; HU outside it stay.

    Args:
        gamma: Range of the exponent, drawn evenly on a log scale.
        window: HU that the curve leaves in place.
        prob: How often.
    """

    def __init__(
        self,
        gamma: Sequence[float] = (0.7, 1.5),
        window: Sequence[float] = LUNG_WINDOW,
        *,
        prob: float = 0.3,
    ) -> None:
        self.gamma, self.prob = tuple(gamma), prob
        self.window = Window(*window)

    def draw(self, results: dict) -> float | None:
        """Exponent, None to leave the crop alone."""
        rng = results['rng']
        if rng.random() >= self.prob:
            return None
        return float(np.exp(rng.uniform(*np.log(self.gamma))))

    def transform(self, results: dict) -> dict:
        gamma = self.draw(results)
        if gamma is not None:
            low, high = self.window
            image = results['image'].astype(np.float32, copy=False)
            intensity = self.window.normalize(image)
            bent = intensity ** np.float32(gamma) - intensity
            results['image'] = image + bent * np.float32(high - low)
        return results


@TRANSFORMS.register_module()
class RandomNoiseBlur(BaseTransform):
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

    def draw(self, results: dict) -> tuple[str, float] | None:
        """What to do and how strongly, None to leave the crop alone."""
        rng = results['rng']
        if rng.random() >= self.prob:
            return None
        if rng.random() < 0.5:
            return 'noise', float(rng.uniform(*self.noise))
        return 'blur', float(rng.uniform(*self.blur))

    def transform(self, results: dict) -> dict:
        drawn = self.draw(results)
        if drawn is None:
            return results
        what, strength = drawn
        image = results['image'].astype(np.float32, copy=False)
        if what == 'noise':
            noise = results['rng'].standard_normal(image.shape, np.float32)
            results['image'] = image + np.float32(strength) * noise
        else:
            from scipy.ndimage import gaussian_filter

            results['image'] = gaussian_filter(
                image, (0, strength, strength), truncate=3
            )
        return results
