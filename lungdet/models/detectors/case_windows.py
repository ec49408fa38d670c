"""A whole case as overlapping windows of the training crop's size."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models.backbones.featurenet import MAX_STRIDE
from lungdet.models.plugins import pooling_plugins
from lungdet.ops import boxes_touching, centers_inside


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


def fitted_size(
    shape: Sequence[int], overlap: int, max_voxels: int
) -> tuple[int, int, int]:
    """Sides (z, y, x) of the windows that cover a case with least computation.

    Large windows share few voxels, and windows that fit the case's sides
    leave no remainder: in chests of at most 420 mm, windows of at most 12
    million voxels compute each voxel 1.6 times or less, those of 96^3 up to
    3.6 times.

    Args:
        shape: Voxels of the case.
        overlap: Voxels shared by neighbours, at least.
        max_voxels: Largest number of voxels of a window.

    Raises:
        ConfigError: Windows of so few voxels would hardly be larger than
            their overlap.

    Examples:
        >>> fitted_size((287, 216, 281), 32, 12_000_000)
        (160, 224, 288)
    """
    least = (overlap // MAX_STRIDE + 1) * MAX_STRIDE
    axes = [
        _sides_by_number(side, overlap, range(least, end, MAX_STRIDE), end)
        for side, end in zip(shape, whole_size(shape))
    ]
    fitting = [
        (math.prod(numbers) * math.prod(size), math.prod(numbers), size)
        for numbers, size in (
            zip(*choice)
            for choice in itertools.product(*(sides.items() for sides in axes))
        )
        if math.prod(size) <= max_voxels
    ]
    if not fitting:
        raise ConfigError(
            f'test_cfg.max_voxels: {max_voxels}, but windows that overlap by '
            f'{overlap} have {least} voxels a side; give at least '
            f'{least**3}, or a smaller overlap.'
        )
    _, _, (depth, height, width) = min(fitting)
    return depth, height, width


def _sides_by_number(
    side: int, overlap: int, sides: Sequence[int], end: int
) -> dict[int, int]:
    """The smallest window of those that cover an axis in the same number."""
    return {
        len(axis_windows(side, window, overlap)): window
        for window in (end, *reversed(sides))
    }


def case_windows(
    shape: Sequence[int],
    window: Sequence[int] | None,
    overlap: int,
    max_voxels: int | None = None,
) -> list[CaseWindow]:
    """All windows of a case of ``shape`` (z, y, x).

    Args:
        shape: Voxels of the case.
        window: Voxels of a window; None for one that covers the whole case.
        overlap: Voxels shared by neighbours.
        max_voxels: Take windows of ``fitted_size`` instead of ``window``.

    Raises:
        ConfigError: Neighbours would overlap by a whole window.
    """
    if max_voxels is not None:
        window = fitted_size(shape, overlap, max_voxels)
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


def windows_near(
    windows: Sequence[CaseWindow], mask: Tensor, margin: float
) -> list[CaseWindow]:
    """Windows that hold a part of a mask, or are within a margin of one.

    Args:
        windows: Windows of a case.
        mask: (D, H, W) bool of the case.
        margin: Voxels.

    Examples:
        >>> mask = torch.zeros(32, 32, 80, dtype=torch.bool)
        >>> mask[..., 78:] = True
        >>> windows = case_windows(mask.shape, (32, 32, 32), 8)
        >>> [w.start[2] for w in windows]
        [0, 24, 48]
        >>> [w.start[2] for w in windows_near(windows, mask, 8)]
        [48]
    """
    grown = math.ceil(margin)
    near = []
    for window in windows:
        region = tuple(
            slice(max(0, start - grown), start + side + grown)
            for start, side in zip(window.start, window.size)
        )
        if mask[region].any():
            near.append(window)
    return near


def even_batches(
    windows: list[CaseWindow], most: int
) -> Iterator[list[CaseWindow]]:
    """Batches of at most ``most`` windows, of sizes as equal as possible.

    Args:
        windows: Windows of a case; their order is kept.
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


def window_targets(
    sample: DetDataSample, window: CaseWindow, margin: float
) -> DetDataSample:
    """Targets of a window of a case, by the rule of training crops.

    A nodule whose centre is closer than ``margin`` voxels to a face is an
    ignored region, like excluded findings.

    Args:
        sample: Targets in the case's voxels; not changed.
        window: The window.
        margin: Voxels between a target's centre and every face, at least.

    Returns:
        Targets in the window's voxels, on the CPU.
    """
    gt = sample.gt_instances.cpu()
    boxes = gt.bboxes - window.offset()
    kept = centers_inside(boxes, window.size, margin)
    ignored = sample.ignored_instances.cpu().bboxes - window.offset()
    regions = torch.cat([boxes[~kept], ignored])
    target = DetDataSample()
    target.gt_instances = gt[kept]
    target.gt_instances.bboxes = boxes[kept]
    regions = regions[boxes_touching(regions, window.size)]
    target.ignored_instances = InstanceData(bboxes=regions)
    masks = sample.gt_masks.cpu()[None]
    target.gt_masks = crop_window(masks, window, 0)[0]
    return target


def warn_of_pooling(
    backbone: torch.nn.Module,
    window: Sequence[int] | None,
    crop_size: Sequence[int] | None,
) -> None:
    """Warn if windows are not of the training crops' size and it matters.

    Args:
        backbone: Its plugins may pool over space.
        window: Voxels of a window; None where they fit the case, or for the
            whole case.
        crop_size: Voxels of a training crop, None if unknown.

    Warns:
        UserWarning: They are not, and a plugin pools over space.
    """
    pooling = pooling_plugins(backbone)
    equal = window and crop_size and tuple(window) == tuple(crop_size)
    if not pooling or equal:
        return
    size = 'of unknown size' if crop_size is None else tuple(crop_size)
    warnings.warn(
        f'test_cfg.window: {window and tuple(window)}, but the training crops '
        f'were {size}; {", ".join(pooling)} pools over the whole window, so '
        'its gates differ from those trained. Set model.test_cfg.window to '
        'the size of the training crops, without max_voxels (and '
        'model.train_cfg.crop_size, if that is unknown).',
        stacklevel=3,
    )
