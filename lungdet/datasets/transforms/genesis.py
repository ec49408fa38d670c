"""The distortions of Models Genesis, on crops in [0, 1].

Each works on ``results['image']`` and returns a new array, so that
``results['target']``, which starts as the same array, stays untouched. Numbers
are drawn first, from ``results['rng']``, then applied.

Source: Models Genesis (Zhou et al. 2021); probabilities and parameters are
those of its public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform

from lungdet.errors import ConfigError
from lungdet.registry import TRANSFORMS

Box = tuple[slice, slice, slice]
LUT_SIZE = 4096  # entries of an intensity curve; 12-bit steps
RIM = 3  # voxels at the faces that painting's boxes leave out


@TRANSFORMS.register_module()
class RepeatedFlip3D(BaseTransform):
    """Mirror image and target: again and again, each time a random axis.

    Args:
        prob: Of one more flip.
        max_flips: Most flips; the same axis twice cancels.
    """

    def __init__(self, prob: float = 0.4, max_flips: int = 3) -> None:
        self.prob, self.max_flips = prob, max_flips

    def draw(self, results: dict) -> list[int]:
        """Axes to mirror, one after the other."""
        rng = results['rng']
        axes: list[int] = []
        while len(axes) < self.max_flips and rng.random() < self.prob:
            axes.append(int(rng.integers(3)))
        return axes

    def transform(self, results: dict) -> dict:
        axes = self.draw(results)
        for axis in axes:
            results['geometry'] = results['geometry'].flip(axis)
        odd = tuple(a for a in range(3) if axes.count(a) % 2)
        for name in ('image', 'target'):
            flipped = np.flip(results[name], odd)
            results[name] = np.ascontiguousarray(flipped)
        return results


@TRANSFORMS.register_module()
class LocalPixelShuffle(BaseTransform):
    """Permute the voxels inside small windows.

    Args:
        prob: How often.
        max_window: Longest sides of a window (z, y, x); the drawn ones are
            uniform from 1. Fixed, so structures of one size are shuffled in
            crops of any size.
        coverage: Windows' volume over the crop's; 1.87 is the public code's
            10,000 windows on a 32 x 64 x 64 crop. Used by ``'windows'``.
        mode: ``'windows'`` that may overlap, as published, or ``'tiles'``
            that cover every voxel once: stronger, no border effect, and the
            histogram stays exactly.

    Raises:
        ConfigError: Unknown ``mode``.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_window: Sequence[int] = (3, 6, 6),
        *,
        coverage: float = 1.87,
        mode: str = 'windows',
    ) -> None:
        modes = ('windows', 'tiles')
        if mode not in modes:
            raise ConfigError(f'mode: {mode!r}; choose one of {modes}.')
        self.prob = prob
        self.max_window = tuple(max_window)
        self.coverage = coverage
        self.mode = mode

    def draw(self, results: dict) -> bool:
        """Whether to shuffle."""
        return results['rng'].random() < self.prob

    def transform(self, results: dict) -> dict:
        if not self.draw(results):
            return results
        image, rng = results['image'], results['rng']
        if self.mode == 'tiles':
            results['image'] = shuffle_tiles(image, self.max_window, rng)
        else:
            windows = draw_windows(
                image.shape, self.max_window, rng, coverage=self.coverage
            )
            results['image'] = shuffle_windows(image, windows, rng)
        return results


class Windows(NamedTuple):
    """Windows of a crop.

    Attributes:
        starts: First voxels (N, 3), z, y, x.
        sizes: Sides (N, 3).
    """

    starts: np.ndarray
    sizes: np.ndarray


def draw_windows(
    shape: Sequence[int],
    max_window: Sequence[int],
    rng: np.random.Generator,
    *,
    coverage: float,
) -> Windows:
    """Windows of uniform sides at uniform places wholly inside a crop."""
    longest = np.minimum(max_window, shape)
    num = round(coverage * np.prod(shape) / np.prod((longest + 1) / 2))
    sizes = rng.integers(1, longest + 1, (num, 3))
    return Windows(rng.integers(0, shape - sizes + 1), sizes)


def shuffle_windows(
    image: np.ndarray, windows: Windows, rng: np.random.Generator
) -> np.ndarray:
    """Permute the voxels of each window; a later window overwrites.

    Values come from the untouched image. Windows of equally many voxels run
    together, the groups in random order, so that no size always wins.
    """
    source = image.ravel()
    shuffled = source.copy()
    longest = tuple(windows.sizes.max(0).tolist())
    offsets = _offsets(image.shape, longest)
    kinds = np.ravel_multi_index((windows.sizes - 1).T, longest)
    first = np.ravel_multi_index(windows.starts.T, image.shape)
    volumes = windows.sizes.prod(1)
    order = np.argsort(volumes, kind='stable')
    volume, begin = np.unique(volumes[order], return_index=True)
    groups = np.split(order, begin[1:])
    for k in rng.permutation(len(groups)):
        group = groups[k]
        voxels = offsets[kinds[group], : volume[k]] + first[group, None]
        shuffled[voxels] = rng.permuted(source[voxels], axis=1)
    return shuffled.reshape(image.shape)


@lru_cache(maxsize=4)
def _offsets(shape: tuple[int, ...], longest: tuple[int, ...]) -> np.ndarray:
    """Flat offsets of the voxels of every size up to ``longest``."""
    offsets = np.zeros((np.prod(longest), np.prod(longest)), dtype=np.intp)
    for row, last in zip(offsets, np.ndindex(longest)):
        voxels = np.indices([n + 1 for n in last]).reshape(3, -1)
        row[: voxels.shape[1]] = np.ravel_multi_index(list(voxels), shape)
    return offsets


def shuffle_tiles(
    image: np.ndarray, max_window: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Permute the voxels inside the tiles of a random, uneven grid."""
    tile = np.zeros((1, 1, 1), dtype=np.int64)
    for axis, (side, longest) in enumerate(zip(image.shape, max_window)):
        steps = rng.integers(1, longest + 1, size=side)
        number = np.repeat(np.arange(side), steps)[:side]
        place = [1, 1, 1]
        place[axis] = side
        tile = tile * side + number.reshape(place)
    owner = tile.ravel()
    into = np.argsort(owner, kind='stable')
    # the same tiles in the same order, their voxels in random order
    out_of = np.argsort(owner + rng.random(owner.size))
    shuffled = np.empty_like(image).ravel()
    shuffled[into] = image.ravel()[out_of]
    return shuffled.reshape(image.shape)


@TRANSFORMS.register_module()
class NonLinearIntensity(BaseTransform):
    """Map intensities along a random cubic Bezier curve.

    Args:
        prob: How often.
        decreasing: Part of the curves that turn air and bone round.
        samples: Points of the curve; 1,000 are exact to 1e-5.
    """

    def __init__(
        self,
        prob: float = 0.9,
        decreasing: float = 0.5,
        *,
        samples: int = 1000,
    ) -> None:
        self.prob, self.decreasing, self.samples = prob, decreasing, samples

    def draw(self, results: dict) -> tuple[np.ndarray, bool] | None:
        """Inner control points (2, 2) and direction, None for neither."""
        rng = results['rng']
        if rng.random() >= self.prob:
            return None
        return rng.random((2, 2)), bool(rng.random() < self.decreasing)

    def transform(self, results: dict) -> dict:
        drawn = self.draw(results)
        if drawn is None:
            return results
        x, y = bezier_curve(*drawn, samples=self.samples)
        table = np.interp(np.linspace(0, 1, LUT_SIZE), x, y)
        steps = results['image'] * np.float32(LUT_SIZE - 1) + np.float32(0.5)
        table = table.astype(np.float32)
        results['image'] = table.take(steps.astype(np.uint16))
        return results


def bezier_curve(
    inner: np.ndarray, decreasing: bool, *, samples: int = 1000
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


@TRANSFORMS.register_module()
class InPainting(BaseTransform):
    """Replace a few boxes by uniform noise.

    Args:
        max_boxes: Most boxes.
        prob_box: Of one more box; the first failure ends it.
        sides: Shortest and longest side of a box as parts of the crop's.
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

    def draw(self, results: dict) -> list[Box]:
        """Boxes to hide."""
        rng, shape = results['rng'], results['image'].shape
        boxes: list[Box] = []
        while len(boxes) < self.max_boxes and rng.random() < self.prob_box:
            low, high = (_part(shape, part) for part in self.sides)
            boxes.append(_place_box(shape, rng.integers(low, high + 1), rng))
        return boxes

    def transform(self, results: dict) -> dict:
        masked = np.zeros(results['image'].shape, dtype=bool)
        for box in self.draw(results):
            masked[box] = True
        return paint(results, masked, 'in')


@TRANSFORMS.register_module()
class OutPainting(BaseTransform):
    """Replace all but a few boxes by uniform noise.

    Args:
        max_boxes: Most boxes that stay; one always does.
        prob_box: Of one more box; the first failure ends it.
        gaps: Smallest and largest difference of the crop's side and a box's,
            as parts of the crop's.
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

    def draw(self, results: dict) -> list[Box]:
        """Boxes to keep."""
        rng, shape = results['rng'], results['image'].shape
        boxes: list[Box] = []
        while len(boxes) < self.max_boxes and (
            not boxes or rng.random() < self.prob_box
        ):
            low, high = (_part(shape, part) for part in self.gaps)
            size = shape - rng.integers(low, high + 1)
            boxes.append(_place_box(shape, size, rng))
        return boxes

    def transform(self, results: dict) -> dict:
        masked = np.ones(results['image'].shape, dtype=bool)
        for box in self.draw(results):
            masked[box] = False
        return paint(results, masked, 'out')


def _part(shape: Sequence[int], part: float) -> np.ndarray:
    # a whole product must not fall just below itself
    return np.floor(np.asarray(shape) * part + 1e-9).astype(int)


def _place_box(
    shape: Sequence[int], size: np.ndarray, rng: np.random.Generator
) -> Box:
    """A box of a size at a uniform place that leaves the rim out."""
    last = np.asarray(shape) - size - RIM
    starts = rng.integers(RIM, last + 1)
    z, y, x = (slice(int(a), int(a + n)) for a, n in zip(starts, size))
    return z, y, x


def paint(results: dict, masked: np.ndarray, kind: str) -> dict:
    """Put noise where ``masked``; tell the model and the metric."""
    noise = results['rng'].random(masked.shape, dtype=np.float32)
    results['image'] = np.where(masked, noise, results['image'])
    results['masked'] = masked
    results['painting'] = kind
    return results


@TRANSFORMS.register_module()
class Painting(BaseTransform):
    """In-painting or out-painting, never both.

    Args:
        prob: How often to paint at all.
        inside: Part of it that is in-painting.
        inpainting: Differences to ``InPainting``'s defaults.
        outpainting: Differences to ``OutPainting``'s defaults.
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

    def draw(self, results: dict) -> InPainting | OutPainting | None:
        """Which one, None for neither."""
        rng = results['rng']
        if rng.random() >= self.prob:
            return None
        if rng.random() < self.inside:
            return self.inpainting
        return self.outpainting

    def transform(self, results: dict) -> dict:
        chosen = self.draw(results)
        return results if chosen is None else chosen.transform(results)
