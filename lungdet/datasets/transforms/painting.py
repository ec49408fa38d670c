"""In- and out-painting: boxes, or all except boxes, replaced by noise.

Source: Models Genesis (Zhou et al. 2021); probabilities and parameters are
those of its public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.geometry import box_slices
from lungdet.registry import TRANSFORMS
from lungdet.seeds import draw_seed

RIM = 3  # voxels at the faces that boxes leave out

Box = tuple[int, ...]


@dataclass(frozen=True)
class PaintingParams:
    """Which voxels become noise.

    Attributes:
        painting: ``'in'``: the boxes; ``'out'``: all except them; None:
            nothing.
        boxes: Integer edge boxes (z1, y1, x1, z2, y2, x2).
        noise_seed: Seed of the noise.
    """

    painting: str | None = None
    boxes: Sequence[Sequence[int]] = ()
    noise_seed: int = 0


class NoisePainting(Transform[PaintingParams]):
    """Replace voxels by uniform noise in [0, 1], as drawn."""

    def apply(self, sample: Sample, params: PaintingParams) -> Sample:
        if params.painting is None:
            return sample
        image = sample['image']
        inside = np.zeros(image.shape, dtype=bool)
        for box in params.boxes:
            inside[box_slices(np.array(box))] = True
        masked = inside if params.painting == 'in' else ~inside
        rng = np.random.default_rng(params.noise_seed)
        noise = rng.random(image.shape, dtype=np.float32)
        return {
            **sample,
            'image': np.where(masked, noise, image),
            'masked': masked,
            'painting': params.painting,
        }


@TRANSFORMS.register_module()
class InPainting(NoisePainting):
    """Replace a few boxes by uniform noise.

    Args:
        max_boxes: Most boxes.
        prob_box: Probability of each further box; the first failure ends the
            draw.
        sides: Shortest and longest side of a box as fractions of the crop's.
    """

    def __init__(
        self,
        max_boxes: int = 5,
        prob_box: float = 0.95,
        *,
        sides: Sequence[float] = (1 / 6, 1 / 3),
    ) -> None:
        self.max_boxes, self.prob_box = max_boxes, prob_box
        self.sides = tuple(sides)

    def draw(self, rng: np.random.Generator, sample: Sample) -> PaintingParams:
        shape = np.array(sample['image'].shape)
        shortest, longest = (_whole(shape * part) for part in self.sides)
        boxes: list[Box] = []
        while len(boxes) < self.max_boxes and rng.random() < self.prob_box:
            boxes.append(
                _draw_box(rng, shape, rng.integers(shortest, longest + 1))
            )
        return PaintingParams('in', tuple(boxes), draw_seed(rng))


@TRANSFORMS.register_module()
class OutPainting(NoisePainting):
    """Replace all except a few boxes by uniform noise.

    Args:
        max_boxes: Largest number of boxes that are kept; at least one is.
        prob_box: Probability of each further box; the first failure ends the
            draw.
        gaps: Smallest and largest difference of the crop's side and a box's,
            as fractions of the crop's.
    """

    def __init__(
        self,
        max_boxes: int = 5,
        prob_box: float = 0.95,
        *,
        gaps: Sequence[float] = (3 / 7, 4 / 7),
    ) -> None:
        self.max_boxes, self.prob_box = max_boxes, prob_box
        self.gaps = tuple(gaps)

    def draw(self, rng: np.random.Generator, sample: Sample) -> PaintingParams:
        shape = np.array(sample['image'].shape)
        smallest, largest = (_whole(shape * part) for part in self.gaps)
        boxes: list[Box] = []
        while len(boxes) < self.max_boxes and (
            not boxes or rng.random() < self.prob_box
        ):
            gap = rng.integers(smallest, largest + 1)
            boxes.append(_draw_box(rng, shape, shape - gap))
        return PaintingParams('out', tuple(boxes), draw_seed(rng))


@TRANSFORMS.register_module()
class Painting(NoisePainting):
    """In-painting or out-painting, never both.

    Args:
        prob: Probability of painting.
        inside: Fraction of the paintings that are in-painting.
        inpainting: Updates of ``InPainting``'s defaults.
        outpainting: Updates of ``OutPainting``'s defaults.
    """

    def __init__(
        self,
        prob: float = 0.9,
        inside: float = 0.2,
        *,
        inpainting: dict | None = None,
        outpainting: dict | None = None,
    ) -> None:
        self.prob, self.inside = prob, inside
        self.inpainting = InPainting(**(inpainting or {}))
        self.outpainting = OutPainting(**(outpainting or {}))

    def draw(self, rng: np.random.Generator, sample: Sample) -> PaintingParams:
        if rng.random() >= self.prob:
            return PaintingParams()
        if rng.random() < self.inside:
            return self.inpainting.draw(rng, sample)
        return self.outpainting.draw(rng, sample)


def _whole(sides: np.ndarray) -> np.ndarray:
    # an integer product must not be rounded down by float error
    return np.floor(sides + 1e-9).astype(int)


def _draw_box(
    rng: np.random.Generator, shape: np.ndarray, size: np.ndarray
) -> Box:
    """A box of a given size at a uniform position, outside the rim."""
    starts = rng.integers(RIM, shape - size - RIM + 1)
    return tuple([*starts.tolist(), *(starts + size).tolist()])
