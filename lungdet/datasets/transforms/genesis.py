"""Mirroring and intensity curves of Models Genesis.

The distortions of Models Genesis work on normalized intensity. Each makes a
new ``image``, so that ``target``, initially the same array, does not change.

Source: Models Genesis (Zhou et al. 2021); probabilities and parameters are
those of its public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.datasets.transforms.spatial import FlipParams
from lungdet.registry import TRANSFORMS

CURVE_POINTS = 1000  # of an intensity curve; exact to 1e-5
LUT_SIZE = 4096  # entries of its table; 12-bit steps


@TRANSFORMS.register_module()
class RepeatedFlip3D(Transform[FlipParams]):
    """Mirror image, target and lungs repeatedly, each time along a random
    axis.

    Args:
        prob: Probability of each further flip.
        max_flips: Most flips; the same axis twice cancels.
    """

    def __init__(self, prob: float = 0.4, max_flips: int = 3) -> None:
        self.prob, self.max_flips = prob, max_flips

    def draw(self, rng: np.random.Generator, sample: Sample) -> FlipParams:
        axes: list[int] = []
        while len(axes) < self.max_flips and rng.random() < self.prob:
            axes.append(int(rng.integers(3)))
        return FlipParams(tuple(axes))

    def apply(self, sample: Sample, params: FlipParams) -> Sample:
        axes = list(params.axes)
        odd = tuple(axis for axis in range(3) if axes.count(axis) % 2)
        geometry = sample['geometry']
        for axis in odd:
            geometry = geometry.flip(axis)
        return {
            **sample,
            'geometry': geometry,
            'image': np.ascontiguousarray(np.flip(sample['image'], odd)),
            'target': np.ascontiguousarray(np.flip(sample['target'], odd)),
            'in_lungs': np.ascontiguousarray(np.flip(sample['in_lungs'], odd)),
        }


@dataclass(frozen=True)
class CurveParams:
    """An intensity curve.

    Attributes:
        inner: The two inner control points, (x, y) each; None changes
            nothing.
        decreasing: Whether it falls.
    """

    inner: Sequence[Sequence[float]] | None = None
    decreasing: bool = False


@TRANSFORMS.register_module()
class NonLinearIntensity(Transform[CurveParams]):
    """Map intensities along a random cubic Bezier curve.

    Args:
        prob: Probability.
        decreasing: Fraction of curves that invert intensities.
    """

    def __init__(self, prob: float = 0.9, decreasing: float = 0.5) -> None:
        self.prob, self.decreasing = prob, decreasing

    def draw(self, rng: np.random.Generator, sample: Sample) -> CurveParams:
        if rng.random() >= self.prob:
            return CurveParams()
        first, second = rng.random((2, 2)).tolist()
        decreasing = rng.random() < self.decreasing
        return CurveParams((tuple(first), tuple(second)), decreasing)

    def apply(self, sample: Sample, params: CurveParams) -> Sample:
        if params.inner is None:
            return sample
        x, y = bezier_curve(np.array(params.inner), params.decreasing)
        table = np.interp(np.linspace(0, 1, LUT_SIZE), x, y)
        steps = sample['image'] * np.float32(LUT_SIZE - 1) + np.float32(0.5)
        image = table.astype(np.float32).take(steps.astype(np.uint16))
        return {**sample, 'image': image}


def bezier_curve(
    inner: np.ndarray, decreasing: bool, *, samples: int = CURVE_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """A cubic Bezier curve from (0, 0) to (1, 1) as a function on [0, 1].

    Args:
        inner: The two inner control points (2, 2), (x, y) each, in [0, 1];
            both coordinates then only grow along the curve.
        decreasing: Run y backwards, from (0, 1) to (1, 0).
        samples: Points.

    Returns:
        x, growing, and y.
    """
    t = np.linspace(0, 1, samples)
    weights = 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2
    x, y = (np.stack(weights).T @ inner + (t**3)[:, None]).T
    return x, y[::-1] if decreasing else y
