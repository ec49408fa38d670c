from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lungdet.datasets import LocalPixelShuffle, TilePixelShuffle
from lungdet.datasets.transforms.pixel_shuffle import (
    Blocks,
    draw_blocks,
    shuffle_blocks,
    shuffle_tiles,
)
from tests.datasets.transforms.draws import (
    SHAPE,
    assert_rate,
    distorted,
    draws,
)
from tests.oracles import genesis_literal as literal


@pytest.mark.parametrize('shuffle', [LocalPixelShuffle(), TilePixelShuffle()])
def test_half_of_the_crops_are_shuffled_each_in_its_way(
    shuffle: LocalPixelShuffle | TilePixelShuffle,
) -> None:
    seeds = [p.seed for p in draws(shuffle) if p.seed is not None]

    assert_rate(len(seeds), 0.5)
    assert len(set(seeds)) == len(seeds)


def test_blocks_are_drawn_as_published() -> None:
    blocks = draw_blocks(
        SHAPE, (3, 6, 6), np.random.default_rng(1), coverage=1.87
    )

    # 1.87 * 131,072 voxels / 24.5 voxels a block; published: 10,000
    assert len(blocks.sizes) == 10_004
    for axis, longest in enumerate((3, 6, 6)):
        sides = Counter(blocks.sizes[:, axis].tolist())
        assert set(sides) == set(range(1, longest + 1))
        for count in sides.values():
            assert_rate(count, 1 / longest, 10_004)
        starts, ends = (
            blocks.starts[:, axis],
            blocks.starts[:, axis] + blocks.sizes[:, axis],
        )
        assert starts.min() == 0 and ends.max() == SHAPE[axis]
        # start 0 of a block of side n is one of S - n + 1
        at_zero = sum(1 / (SHAPE[axis] - n + 1) for n in range(1, longest + 1))
        assert_rate((starts == 0).sum(), at_zero / longest, 10_004)


def test_as_many_blocks_per_voxel_at_every_crop_size() -> None:
    rng = np.random.default_rng(0)
    for side in (32, 64, 96):
        blocks = draw_blocks((side,) * 3, (3, 6, 6), rng, coverage=1.87)
        covered = blocks.sizes.prod(1).sum() / side**3
        assert covered == pytest.approx(1.87, rel=0.02)


def test_one_block_is_permuted_and_the_rest_stays(crop: np.ndarray) -> None:
    blocks = Blocks(np.array([[4, 50, 60]]), np.array([[3, 5, 2]]))
    box = np.s_[4:7, 50:55, 60:62]

    out = shuffle_blocks(crop, blocks, np.random.default_rng(0))

    outside = np.ones(SHAPE, dtype=bool)
    outside[box] = False
    np.testing.assert_array_equal(out[outside], crop[outside])
    assert (out[box] != crop[box]).sum() > 20
    np.testing.assert_array_equal(
        np.sort(out[box], axis=None), np.sort(crop[box], axis=None)
    )


def test_every_voxel_comes_from_one_of_its_blocks() -> None:
    shape = (9, 11, 13)
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    rng = np.random.default_rng(5)
    blocks = draw_blocks(shape, (3, 4, 5), rng, coverage=0.8)

    out = shuffle_blocks(image, blocks, rng)

    moved = np.argwhere(out != image)
    sources = np.array(np.unravel_index(out[out != image].astype(int), shape))
    low, high = blocks.starts, blocks.starts + blocks.sizes
    assert len(moved) > 300
    for voxel, source in zip(moved, sources.T):
        holds = [
            (low <= p).all(1) & (high > p).all(1) for p in (voxel, source)
        ]
        assert (holds[0] & holds[1]).any()


def test_shuffling_changes_as_much_as_the_literal_loop() -> None:
    image = np.arange(np.prod(SHAPE), dtype=np.float64).reshape(SHAPE)
    shuffle = LocalPixelShuffle(prob=1.0)
    changed, literally = [], []
    for seed in range(6):
        changed.append(distorted(shuffle, image, seed)['image'] != image)
        rng = np.random.default_rng(seed)
        literally.append(literal.literal_shuffle(image, rng) != image)

    # one crop's fraction has a standard deviation of 0.005; at the faces,
    # which few blocks reach, it is far below the 79 % of the whole
    assert np.mean(changed) == pytest.approx(np.mean(literally), abs=0.015)
    assert np.mean(changed) == pytest.approx(0.79, abs=0.015)
    for face in (np.s_[:, [0, -1]], np.s_[:, :, :, [0, -1]]):
        fraction = np.stack(literally)[face].mean()
        assert fraction < 0.7
        assert np.stack(changed)[face].mean() == pytest.approx(
            fraction, abs=0.025
        )


def test_no_block_size_always_wins(crop: np.ndarray) -> None:
    """Two blocks over one voxel: either may be the later one."""
    starts = np.array([[4, 8, 8], [4, 9, 8]])
    blocks = Blocks(starts, np.array([[1, 2, 1], [1, 3, 1]]))
    first_is_later = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        out = shuffle_blocks(crop, blocks, rng)
        column = out[4, 8:12, 8].tolist()
        # the first block wrote last if row 8's value is in row 9
        first_is_later.append(column[1] == crop[4, 8, 8])

    # the 2-block is later in half of the runs and swaps in half of those
    assert_rate(sum(first_is_later), 1 / 4, 200)


def test_tiles_cover_every_voxel_once() -> None:
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)

    out = shuffle_tiles(image, (3, 6, 6), np.random.default_rng(0))

    np.testing.assert_array_equal(np.sort(out, axis=None), image.ravel())
    assert (out != image).mean() > 0.9
    sources = np.array(np.unravel_index(out.astype(int), SHAPE))
    moved = np.abs(sources - np.indices(SHAPE)).reshape(3, -1).max(1)
    np.testing.assert_array_equal(moved, [2, 5, 5])
