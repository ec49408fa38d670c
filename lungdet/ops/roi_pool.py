"""Features of fixed size from regions of any size.

RoIs are (N, 7): batch index, then an edge box in input voxels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from lungdet.ops.boxes import from_host

SMALL_SIDE = 4  # cells; RoIs up to this long are pooled together
CHUNK_VALUES = 1 << 23  # feature values gathered at once


def roi_cells(
    rois: Tensor, shape: tuple[int, int, int], stride: int
) -> tuple[Tensor, Tensor]:
    """First and last + 1 feature cells covered by each RoI.

    The NoduleNet authors' code states RoIs by voxel centres; half a voxel is
    subtracted from the edges to get the same cells.

    Args:
        rois: (N, 7) in input voxels, edge coordinates.
        shape: Cells of the feature (z, y, x).
        stride: Input voxels per cell.

    Returns:
        Two integer tensors (N, 3).

    Examples:
        >>> rois = torch.tensor([[0, -3., 4, 9, 2, 8, 40]])
        >>> roi_cells(rois, (8, 8, 8), stride=4)
        (tensor([[0, 0, 2]]), tensor([[1, 2, 8]]))
    """
    size = from_host(list(shape), rois).long()
    low = ((rois[:, 1:4] - 0.5) / stride).floor().long().clamp(min=0)
    high = ((rois[:, 4:7] - 0.5) / stride).ceil().long()
    return low, torch.minimum(high, size)


def roi_crop_pool(
    feature: Tensor, rois: Tensor, *, output_size: int, stride: int
) -> Tensor:
    """Crop the touched cells and max-pool them adaptively.

    Bin i of an axis with m cells covers [floor(i m / k), ceil((i + 1) m / k)).
    A maximum over a box is taken axis by axis, for all RoIs of like size at
    once; only the cells of the maxima are kept for the backward pass.

    Args:
        feature: (B, C, D, H, W).
        rois: (N, 7) in input voxels, edge coordinates.
        output_size: k, bins per axis.
        stride: Input voxels per cell.

    Returns:
        (N, C, k, k, k).

    Source: NoduleNet, section "decoupled false positive reduction".

    Examples:
        >>> feature = torch.arange(4.).view(1, 1, 1, 1, 4)
        >>> roi = torch.tensor([[0, 0., 0, 5, 4, 4, 12]])  # x cells 1 and 2
        >>> roi_crop_pool(feature, roi, output_size=1, stride=4).item()
        2.0
    """
    k, channels = output_size, feature.shape[1]
    depth, height, width = feature.shape[2:]
    low, high = roi_cells(rois, (depth, height, width), stride)
    batch = rois[:, 0].long()
    channels_last = feature.detach().movedim(1, -1)
    maxima = torch.zeros(
        (len(rois), k, k, k, channels), dtype=torch.long, device=rois.device
    )
    for indices, side in _like_sized(low, high, channels):
        group = from_host(indices, batch)
        maxima[group] = _find_maxima(
            channels_last,
            batch[group],
            low[group],
            high[group],
            k=k,
            side=side,
        )
    channel = torch.arange(channels, device=rois.device)
    cells = depth * height * width
    index = (batch[:, None] * channels + channel)[:, :, None] * cells
    index = index + maxima.flatten(1, 3).movedim(-1, 1)
    pooled = feature.flatten().gather(0, index.flatten())
    return pooled.view(len(rois), channels, k, k, k)


def _like_sized(
    low: Tensor, high: Tensor, channels: int
) -> Iterator[tuple[list[int], int]]:
    """Indices of RoIs no longer than ``side`` cells, in groups that fit in
    memory (the one host synchronisation of the pooling)."""
    groups: dict[int, list[int]] = {}
    for index, length in enumerate((high - low).clamp(min=1).amax(1).tolist()):
        side = max(SMALL_SIDE, 1 << (length - 1).bit_length())
        groups.setdefault(side, []).append(index)
    for side, indices in groups.items():
        step = max(1, CHUNK_VALUES // (side**3 * channels))
        for start in range(0, len(indices), step):
            yield indices[start : start + step], side


def _bin_cells(length: Tensor, k: int, side: int) -> Tensor:
    """Cells (n, k, w) of every bin, from the RoI's first one; short bins
    repeat their last cell, which leaves a maximum unchanged."""
    steps = torch.arange(k, device=length.device)
    start = steps * length[:, None] // k
    stop = -(-(steps + 1) * length[:, None] // k)
    # the widest bin of m cells has (m - 2) // k + 2 at most
    cells = torch.arange(max(side - 2, 0) // k + 2, device=length.device)
    return torch.minimum(start[..., None] + cells, stop[..., None] - 1)


def _find_maxima(
    channels_last: Tensor,
    batch: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    k: int,
    side: int,
) -> Tensor:
    """Flat cell numbers (n, k, k, k, C) of the maxima.

    Args:
        channels_last: (B, D, H, W, C).
        batch: (n,) image of each RoI.
        low: (n, 3) first cell.
        high: (n, 3) last cell + 1.
        k: Bins per axis.
        side: Length of the longest RoI, in cells.
    """
    _, _, height, width, channels = channels_last.shape
    steps = torch.arange(side, device=low.device)
    size = from_host(channels_last.shape[1:4], low)
    # cells beyond a RoI's end are clamped to the border and never read
    z, y, x = torch.minimum(low[..., None] + steps, size[:, None] - 1).unbind(
        1
    )
    z, y, x = z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]
    values = channels_last[batch[:, None, None, None], z, y, x]
    cells = ((z * height + y) * width + x)[..., None]
    roi = torch.arange(len(low), device=low.device)[:, None, None]
    length = (high - low).clamp(min=1)
    for axis in (2, 1, 0):  # (n, a, b, c, C) -> (n, bins of c, a, b, C)
        bins = _bin_cells(length[:, axis], k, side)
        values, best = values[roi, :, :, bins].max(dim=2)
        cells = cells[roi, :, :, bins].expand(
            *bins.shape, *best.shape[2:4], cells.shape[-1]
        )
        if cells.shape[-1] != channels:
            cells = cells.expand(*cells.shape[:-1], channels)
        cells = cells.gather(2, best[:, :, None]).squeeze(2)
    return cells


def roi_align(
    feature: Tensor, rois: Tensor, *, output_size: int, stride: int
) -> Tensor:
    """Sample the RoI's bin centres with trilinear interpolation.

    Args:
        feature: (B, C, D, H, W); the centre of cell i is at (i + 0.5) *
            stride in input edge coordinates.
        rois: (N, 7) in input voxels, edge coordinates.
        output_size: Samples per axis, one at each bin's centre.
        stride: Input voxels per cell.

    Returns:
        (N, C, k, k, k); positions outside the feature take the border value.

    Examples:
        >>> feature = torch.arange(4.).view(1, 1, 1, 1, 4)
        >>> roi = torch.tensor([[0, 0., 0, 4, 4, 4, 12]])  # centre x = 8
        >>> roi_align(feature, roi, output_size=1, stride=4).item()
        1.5
    """
    k, channels = output_size, feature.shape[1]
    # positions in bfloat16 would be off by whole cells
    exact = torch.promote_types(feature.dtype, torch.float32)
    rois = rois.to(exact)
    fraction = (torch.arange(k, device=rois.device, dtype=exact) + 0.5) / k
    low, high = rois[:, 1:4], rois[:, 4:7]
    points = low[:, :, None] + (high - low)[:, :, None] * fraction
    size = from_host(list(feature.shape[2:]), rois)[:, None]
    z, y, x = (points / stride / size * 2 - 1).unbind(1)
    shape = (len(rois), k, k, k)
    sample = torch.stack(
        [
            x[:, None, None, :].expand(shape),
            y[:, None, :, None].expand(shape),
            z[:, :, None, None].expand(shape),
        ],
        dim=-1,
    )
    out = feature.new_zeros((len(rois), channels, k, k, k), dtype=exact)
    for image in range(feature.shape[0]):
        indices = torch.nonzero(rois[:, 0].long() == image).flatten()
        if len(indices) == 0:
            continue
        # the RoIs of an image are stacked along z: the feature isn't copied
        values = F.grid_sample(
            feature[image : image + 1].to(exact),
            sample[indices].flatten(0, 1)[None],
            mode='bilinear',
            padding_mode='border',
            align_corners=False,
        )
        pooled = values.view(channels, len(indices), k, k, k)
        out[indices] = pooled.transpose(0, 1)
    return out.to(feature.dtype)
