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

from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.registry import TRANSFORMS
from lungdet.seeds import draw_seed


@dataclass(frozen=True)
class BlockShuffleParams:
    """Blocks and permutations.

    Attributes:
        seed: Seed of the blocks and the permutations; None changes nothing.
        max_block: Longest sides of a block (z, y, x).
        coverage: Blocks' volume over the crop's.
    """

    seed: int | None = None
    max_block: Sequence[int] = ()
    coverage: float = 0.0


@TRANSFORMS.register_module()
class LocalPixelShuffle(Transform[BlockShuffleParams]):
    """Permute the voxels inside small blocks that may overlap, as published.

    Args:
        prob: How often.
        max_block: Longest sides of a block (z, y, x); the drawn ones are
            uniform from 1. In voxels, so structures of one size are shuffled
            in crops of any size.
        coverage: Blocks' volume over the crop's; 1.87 is the public code's
            10,000 blocks on a 32 x 64 x 64 crop.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_block: Sequence[int] = (3, 6, 6),
        *,
        coverage: float = 1.87,
    ) -> None:
        self.prob = prob
        self.max_block = tuple(max_block)
        self.coverage = coverage

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> BlockShuffleParams:
        if rng.random() >= self.prob:
            return BlockShuffleParams()
        return BlockShuffleParams(
            draw_seed(rng), self.max_block, self.coverage
        )

    def apply(self, sample: Sample, params: BlockShuffleParams) -> Sample:
        if params.seed is None:
            return sample
        image, rng = sample['image'], np.random.default_rng(params.seed)
        blocks = draw_blocks(
            image.shape, params.max_block, rng, coverage=params.coverage
        )
        return {**sample, 'image': shuffle_blocks(image, blocks, rng)}


@dataclass(frozen=True)
class TileShuffleParams:
    """Tiles and permutations.

    Attributes:
        seed: Seed of the tiles and the permutations; None changes nothing.
        max_tile: Longest sides of a tile (z, y, x).
    """

    seed: int | None = None
    max_tile: Sequence[int] = ()


@TRANSFORMS.register_module()
class TilePixelShuffle(Transform[TileShuffleParams]):
    """Permute the voxels inside the tiles of a random grid.

    The tiles cover every voxel once: stronger than ``LocalPixelShuffle``, no
    border effect, and the histogram is kept exactly.

    Args:
        prob: How often.
        max_tile: Longest sides of a tile (z, y, x).
    """

    def __init__(
        self, prob: float = 0.5, max_tile: Sequence[int] = (3, 6, 6)
    ) -> None:
        self.prob = prob
        self.max_tile = tuple(max_tile)

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> TileShuffleParams:
        if rng.random() >= self.prob:
            return TileShuffleParams()
        return TileShuffleParams(draw_seed(rng), self.max_tile)

    def apply(self, sample: Sample, params: TileShuffleParams) -> Sample:
        if params.seed is None:
            return sample
        rng = np.random.default_rng(params.seed)
        shuffled = shuffle_tiles(sample['image'], params.max_tile, rng)
        return {**sample, 'image': shuffled}


class Blocks(NamedTuple):
    """Blocks of a crop.

    Attributes:
        starts: First voxels (N, 3), z, y, x.
        sizes: Sides (N, 3).
    """

    starts: np.ndarray
    sizes: np.ndarray


def draw_blocks(
    shape: Sequence[int],
    max_block: Sequence[int],
    rng: np.random.Generator,
    *,
    coverage: float,
) -> Blocks:
    """Blocks of uniform sides at uniform positions wholly inside a crop.

    Args:
        shape: Voxels of the crop (z, y, x).
        max_block: Longest sides (z, y, x).
        rng: Draws sides and positions.
        coverage: Blocks' volume over the crop's, on average.
    """
    longest = np.minimum(max_block, shape)
    num = round(coverage * np.prod(shape) / np.prod((longest + 1) / 2))
    sizes = rng.integers(1, longest + 1, (num, 3))
    return Blocks(rng.integers(0, shape - sizes + 1), sizes)


def shuffle_blocks(
    image: np.ndarray, blocks: Blocks, rng: np.random.Generator
) -> np.ndarray:
    """Permute the voxels of each block; later blocks overwrite.

    Values come from the original image. Blocks with equal numbers of voxels
    are processed together, the groups in random order, so that no size always
    wins.

    Args:
        image: (D, H, W).
        blocks: Inside it.
        rng: Draws the permutations and the order.

    Returns:
        A new array.
    """
    source = image.ravel()
    shuffled = source.copy()
    longest = tuple(blocks.sizes.max(0).tolist())
    offsets = _voxel_offsets(image.shape, longest)
    kinds = np.ravel_multi_index((blocks.sizes - 1).T, longest)
    first = np.ravel_multi_index(blocks.starts.T, image.shape)
    volumes = blocks.sizes.prod(1)
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
    """Flat offsets of the voxels of every block size up to ``longest``."""
    offsets = np.zeros((np.prod(longest), np.prod(longest)), dtype=np.intp)
    for row, last in zip(offsets, np.ndindex(longest)):
        voxels = np.indices([n + 1 for n in last]).reshape(3, -1)
        row[: voxels.shape[1]] = np.ravel_multi_index(list(voxels), shape)
    return offsets


def shuffle_tiles(
    image: np.ndarray, max_tile: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Permute the voxels inside the tiles of a random, uneven grid.

    Args:
        image: (D, H, W).
        max_tile: Longest sides of a tile (z, y, x).
        rng: Draws the grid and the permutations.

    Returns:
        A new array with the same values.
    """
    tiles = np.zeros((1, 1, 1), dtype=np.int64)  # number of a voxel's tile
    for axis, (side, longest) in enumerate(zip(image.shape, max_tile)):
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
