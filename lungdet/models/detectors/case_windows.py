"""A whole case as overlapping windows of the training crop's size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lungdet.errors import ConfigError
from lungdet.models.backbones.featurenet import MAX_STRIDE


class CaseWindow(NamedTuple):
    """One window of a case, and its core.

    Attributes:
        size: Its voxels (z, y, x).
        start: First voxel (z, y, x).
        core_low: Detections with centres from here (edge coordinates of the
            case) ...
        core_high: ... up to here, exclusive, belong to this window.
    """

    size: tuple[int, int, int]
    start: tuple[int, int, int]
    core_low: tuple[float, float, float]
    core_high: tuple[float, float, float]

    def core(self, seam: float = 0.0) -> Tensor:
        """The core in the case, ``seam`` voxels wider, as a box (6,)."""
        low, high = torch.tensor(self.core_low), torch.tensor(self.core_high)
        return torch.cat([low - seam, high + seam])

    def offset(self) -> Tensor:
        """Offset (6,) from boxes of the window to boxes of the case."""
        return torch.tensor(self.start).repeat(2)


def axis_windows(
    side: int, window: int, overlap: int
) -> list[tuple[int, float, float]]:
    """(start, core low, core high) along one axis.

    Cores meet in the middle of the overlaps, cover the axis and do not
    overlap, so every detection belongs to exactly one window.

    Args:
        side: Voxels of the case along the axis.
        window: Voxels of a window.
        overlap: Voxels shared by neighbours.

    Raises:
        ConfigError: The overlap is not smaller than the window.
    """
    if side <= window:
        return [(0, -torch.inf, torch.inf)]
    if overlap >= window:
        raise ConfigError(
            f'test_cfg.overlap: {overlap}, but a window has {window} voxels, '
            'so the next one would not be further on. Take a smaller overlap.'
        )
    step = window - overlap
    starts = [*range(0, side - window, step), side - window]
    cuts = [(a + window + b) / 2 for a, b in itertools.pairwise(starts)]
    return list(zip(starts, [-torch.inf, *cuts], [*cuts, torch.inf]))


def whole_size(shape: Sequence[int]) -> tuple[int, int, int]:
    """Sides (z, y, x) of a single window for the whole case.

    Source: NoduleNet's evaluation: the next multiple of the stride, 16.
    """
    z, y, x = (-(-side // MAX_STRIDE) * MAX_STRIDE for side in shape)
    return z, y, x


def case_windows(
    shape: Sequence[int], window: Sequence[int] | None, overlap: int
) -> list[CaseWindow]:
    """All windows of a case of ``shape`` (z, y, x).

    Args:
        shape: Voxels of the case.
        window: Voxels of a window; None for one that covers the whole case.
        overlap: Voxels shared by neighbours.

    Raises:
        ConfigError: Neighbours would overlap by a whole window.
    """
    depth, height, width = window or whole_size(shape)
    size = (depth, height, width)
    axes = [axis_windows(*sides, overlap) for sides in zip(shape, size)]
    return [
        CaseWindow(
            size,
            (z[0], y[0], x[0]),
            (z[1], y[1], x[1]),
            (z[2], y[2], x[2]),
        )
        for z, y, x in itertools.product(*axes)
    ]


def even_batches(
    windows: list[CaseWindow], most: int
) -> Iterator[list[CaseWindow]]:
    """Batches of at most ``most`` windows, of sizes as equal as possible.

    Args:
        windows: Of a case; their order is kept.
        most: Windows of a batch, at least 1.
    """
    num = -(-len(windows) // most)
    for k in range(num):
        yield windows[len(windows) * k // num : len(windows) * (k + 1) // num]


def crop_window(case: Tensor, window: CaseWindow, pad: int) -> Tensor:
    """Voxels (C, d, h, w) of a window of a case (C, D, H, W).

    Args:
        case: (C, D, H, W).
        window: Where it lies; it may extend beyond the end of the case.
        pad: Value of voxels outside the case.
    """
    z, y, x = window.start
    depth, height, width = window.size
    crop = case[:, z : z + depth, y : y + height, x : x + width]
    missing = [want - got for want, got in zip(window.size, crop.shape[1:])]
    if not any(missing):
        return crop
    ends = [n for gap in reversed(missing) for n in (0, gap)]
    return F.pad(crop, ends, value=pad)
