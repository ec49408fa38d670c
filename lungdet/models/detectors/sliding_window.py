"""A whole case as overlapping windows of the training crop's size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lungdet.models.backbones.featurenet import MAX_STRIDE


class Window(NamedTuple):
    """One tile.

    Attributes:
        size: Its voxels (z, y, x).
        start: First voxel (z, y, x).
        core_low: Marks with centres from here (edge coordinates) ...
        core_high: ... up to here, exclusive, belong to this window.
    """

    size: tuple[int, int, int]
    start: tuple[int, int, int]
    core_low: tuple[float, float, float]
    core_high: tuple[float, float, float]

    def owns(self, center: Tensor, seam: float = 0.0) -> Tensor:
        """Which centres (N, 3) in the case lie in the core, or ``seam``
        voxels beside it."""
        low = center.new_tensor(self.core_low) - seam
        high = center.new_tensor(self.core_high) + seam
        return ((center >= low) & (center < high)).all(1)


def axis_windows(
    side: int, window: int, overlap: int
) -> list[tuple[int, float, float]]:
    """(start, core low, core high) along one axis.

    Cores meet in the middle of the overlaps, cover the axis and do not
    overlap, so every mark belongs to exactly one window.
    """
    if side <= window:
        return [(0, -torch.inf, torch.inf)]
    step = window - overlap
    starts = [*range(0, side - window, step), side - window]
    cuts = [(a + window + b) / 2 for a, b in itertools.pairwise(starts)]
    return list(zip(starts, [-torch.inf, *cuts], [*cuts, torch.inf]))


def whole_size(shape: Sequence[int]) -> tuple[int, int, int]:
    """Sides (z, y, x) of the one window that holds all of a case.

    Source: NoduleNet's evaluation: the next multiple of the stride, 16.
    """
    z, y, x = (-(-side // MAX_STRIDE) * MAX_STRIDE for side in shape)
    return z, y, x


def windows(
    shape: Sequence[int], window: Sequence[int] | None, overlap: int
) -> Iterator[Window]:
    """All windows of a case of ``shape`` (z, y, x).

    Args:
        shape: Voxels of the case.
        window: Those of a window; None for one that holds the whole case.
        overlap: Voxels that neighbours share.
    """
    depth, height, width = window or whole_size(shape)
    size = (depth, height, width)
    axes = [axis_windows(*sides, overlap) for sides in zip(shape, size)]
    for z, y, x in itertools.product(*axes):
        yield Window(
            size,
            (z[0], y[0], x[0]),
            (z[1], y[1], x[1]),
            (z[2], y[2], x[2]),
        )


def even_parts(chosen: list[Window], most: int) -> Iterator[list[Window]]:
    """Parts of at most ``most`` windows, as equally large as can be."""
    num = -(-len(chosen) // most)
    for k in range(num):
        yield chosen[len(chosen) * k // num : len(chosen) * (k + 1) // num]


def cut(
    case: Tensor, start: Sequence[int], size: Sequence[int], pad: int
) -> Tensor:
    """Window (C, d, h, w) of a case (C, D, H, W), ends filled with ``pad``."""
    z, y, x = start
    tile = case[:, z : z + size[0], y : y + size[1], x : x + size[2]]
    missing = [side - got for side, got in zip(size, tile.shape[1:])]
    if not any(missing):
        return tile
    ends = [n for gap in reversed(missing) for n in (0, gap)]
    return F.pad(tile, ends, value=pad)
