"""Rotation of a crop about all three axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.registry import TRANSFORMS


@dataclass(frozen=True)
class RotationParams:
    """Angles about the axes z, y, x, in radians; 0 changes nothing."""

    angles: Sequence[float] = (0.0, 0.0, 0.0)


@TRANSFORMS.register_module()
class RandomRotation3D(Transform[RotationParams]):
    """Rotate about the axes z, y and x, as for a patient who lies askew.

    The rotation is about the nodule of a nodule sample, which stays in place,
    and about the centre of any other crop. A tilt costs an interpolation in
    three dimensions, where ``RandomAffine3D`` keeps axial planes.

    Args:
        degrees: Largest angle about z, y and x.
        prob: How often.
    """

    def __init__(
        self,
        degrees: Sequence[float] = (25.0, 15.0, 15.0),
        *,
        prob: float = 0.2,
    ) -> None:
        self.degrees, self.prob = tuple(degrees), prob

    def draw(self, rng: np.random.Generator, sample: Sample) -> RotationParams:
        if rng.random() >= self.prob:
            return RotationParams()
        limits = np.deg2rad(self.degrees)
        return RotationParams(tuple(rng.uniform(-limits, limits).tolist()))

    def apply(self, sample: Sample, params: RotationParams) -> Sample:
        if not any(params.angles):
            return sample
        turn = rotation(params.angles)
        return {**sample, 'crop_grid': sample['crop_grid'].warp(turn)}


def rotation(angles: Sequence[float]) -> np.ndarray:
    """Matrix (3, 3) of a rotation about x, then y, then z.

    Args:
        angles: About z, y, x, in radians. In the cycle z, y, x, each turns the
            next axis into the one after it.

    Returns:
        Acts on vectors (z, y, x).
    """
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        about_axis = np.eye(3)
        about_axis[one, one] = about_axis[other, other] = np.cos(angle)
        about_axis[one, other] = -np.sin(angle)
        about_axis[other, one] = np.sin(angle)
        turn = turn @ about_axis
    return turn
