"""Local shuffling of voxels.

Source: Models Genesis (Zhou et al. 2021); probabilities and parameters are
those of its public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lungdet.datasets.transforms.base import Sample, Transform, draw_seed
from lungdet.errors import ConfigError
from lungdet.registry import TRANSFORMS

MODES = ('windows', 'tiles')


@dataclass(frozen=True)
class ShuffleParams:
    """Seed of blocks and permutations, None for an unchanged crop."""

    seed: int | None = None


@TRANSFORMS.register_module()
class LocalPixelShuffle(Transform[ShuffleParams]):
    """Permute the voxels inside small blocks (windows).

    Args:
        prob: How often.
        max_window: Longest sides of a window (z, y, x); the drawn ones are
            uniform from 1. Fixed, so structures of one size are shuffled in
            crops of any size.
        coverage: Windows' volume over the crop's; 1.87 is the public code's
            10,000 windows on a 32 x 64 x 64 crop. Used by ``'windows'``.
        mode: ``'windows'`` that may overlap, as published, or ``'tiles'``
            that cover every voxel once: stronger, no border effect, and the
            histogram is kept exactly.

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
        if mode not in MODES:
            raise ConfigError(f'mode: {mode!r}; choose one of {MODES}.')
        self.prob = prob
        self.max_window = tuple(max_window)
        self.coverage = coverage
        self.mode = mode

    def draw(self, rng: np.random.Generator, sample: Sample) -> ShuffleParams:
        if rng.random() >= self.prob:
            return ShuffleParams()
        return ShuffleParams(draw_seed(rng))

    def apply(self, sample: Sample, params: ShuffleParams) -> Sample:
        if params.seed is None:
            return sample
        image, rng = sample['image'], np.random.default_rng(params.seed)
        if self.mode == 'tiles':
            shuffled = shuffle_tiles(image, self.max_window, rng)
        else:
            windows = draw_windows(
                image.shape, self.max_window, rng, coverage=self.coverage
            )
            shuffled = shuffle_windows(image, windows, rng)
        return {**sample, 'image': shuffled}


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
    """Windows of uniform sides at uniform positions wholly inside a crop.

    Args:
        shape: Voxels of the crop (z, y, x).
        max_window: Longest sides (z, y, x).
        rng: Of sides and positions.
        coverage: Windows' volume over the crop's, on average.
    """
    longest = np.minimum(max_window, shape)
    num = round(coverage * np.prod(shape) / np.prod((longest + 1) / 2))
    sizes = rng.integers(1, longest + 1, (num, 3))
    return Windows(rng.integers(0, shape - sizes + 1), sizes)


def shuffle_windows(
    image: np.ndarray, windows: Windows, rng: np.random.Generator
) -> np.ndarray:
    """Permute the voxels of each window; later windows overwrite.

    Values come from the original image. Windows with equal numbers of voxels
    are processed together, the groups in random order, so that no size always
    wins.

    Args:
        image: (D, H, W).
        windows: Inside it.
        rng: Of the permutations and the order.

    Returns:
        A new array.
    """
    source = image.ravel()
    shuffled = source.copy()
    longest = tuple(windows.sizes.max(0).tolist())
    offsets = _voxel_offsets(image.shape, longest)
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
def _voxel_offsets(
    shape: tuple[int, ...], longest: tuple[int, ...]
) -> np.ndarray:
    """Flat offsets of the voxels of every window size up to ``longest``."""
    offsets = np.zeros((np.prod(longest), np.prod(longest)), dtype=np.intp)
    for row, last in zip(offsets, np.ndindex(longest)):
        voxels = np.indices([n + 1 for n in last]).reshape(3, -1)
        row[: voxels.shape[1]] = np.ravel_multi_index(list(voxels), shape)
    return offsets


def shuffle_tiles(
    image: np.ndarray, max_window: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Permute the voxels inside the tiles of a random, uneven grid.

    Args:
        image: (D, H, W).
        max_window: Longest sides of a tile (z, y, x).
        rng: Of the grid and the permutations.

    Returns:
        A new array with the same values.
    """
    tiles = np.zeros((1, 1, 1), dtype=np.int64)  # number of a voxel's tile
    for axis, (side, longest) in enumerate(zip(image.shape, max_window)):
        steps = rng.integers(1, longest + 1, size=side)
        number = np.repeat(np.arange(side), steps)[:side]
        along = [1, 1, 1]
        along[axis] = side
        tiles = tiles * side + number.reshape(along)
    tile = tiles.ravel()
    into = np.argsort(tile, kind='stable')
    # the same tiles in the same order, their voxels in random order
    out_of = np.argsort(tile + rng.random(tile.size))
    shuffled = np.empty_like(image).ravel()
    shuffled[into] = image.ravel()[out_of]
    return shuffled.reshape(image.shape)
