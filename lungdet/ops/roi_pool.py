"""Features of fixed size from regions of any size.

RoIs are (N, 7): batch index, then an edge box in input voxels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def roi_cells(
    rois: Tensor, shape: tuple[int, int, int], stride: int
) -> tuple[Tensor, Tensor]:
    """First and last + 1 feature cells (N, 3) that each RoI touches.

    The published system states RoIs by voxel centres; half a voxel is taken
    off the edges so that its cells result.
    """
    size = rois.new_tensor(list(shape)).long()
    low = ((rois[:, 1:4] - 0.5) / stride).floor().long().clamp(min=0)
    high = ((rois[:, 4:7] - 0.5) / stride).ceil().long()
    return low, torch.minimum(high, size)


def roi_crop_pool(
    feature: Tensor, rois: Tensor, *, output_size: int = 7, stride: int = 4
) -> Tensor:
    """Crop the touched cells and max-pool them adaptively.

    Bin i of an axis with m cells covers [floor(i m / k), ceil((i + 1) m / k)).
    All RoIs are pooled at once, axis by axis: a maximum over a box is the
    maximum over z of the maximum over y of the maximum over x.

    Args:
        feature: (B, C, D, H, W).
        rois: (N, 7) in input voxels, edge coordinates.
        output_size: k, bins per axis.
        stride: Input voxels per cell.

    Returns:
        (N, C, k, k, k).

    Source: NoduleNet, section "decoupled false positive reduction".
    """
    depth, height, width = feature.shape[2:]
    low, high = roi_cells(rois, (depth, height, width), stride)
    if len(rois) == 0:
        k = output_size
        return feature.new_zeros((0, feature.shape[1], k, k, k))
    pooled = []
    batch = rois[:, 0].long()
    # in chunks: (n, C, cells) of the widest RoI must fit in memory
    for chunk in torch.arange(len(rois), device=rois.device).split(64):
        pooled.append(
            _pool_chunk(
                feature, batch[chunk], low[chunk], high[chunk], output_size
            )
        )
    return torch.cat(pooled)


def _bin_cells(low: Tensor, high: Tensor, k: int) -> Tensor:
    """Cell indices (n, k, w) of every bin; short bins repeat their last cell,
    which leaves a maximum unchanged."""
    length = (high - low).clamp(min=1)
    steps = torch.arange(k, device=low.device)
    start = steps * length[:, None] // k
    stop = -(-(steps + 1) * length[:, None] // k)
    width = int((stop - start).max())
    cells = start[..., None] + torch.arange(width, device=low.device)
    return torch.minimum(cells, stop[..., None] - 1) + low[:, None, None]


def _pool_chunk(
    feature: Tensor, batch: Tensor, low: Tensor, high: Tensor, k: int
) -> Tensor:
    """Gather the chunk's bins and reduce one axis after the other."""
    num, channels = len(batch), feature.shape[1]
    cells = [_bin_cells(low[:, a], high[:, a], k) for a in range(3)]
    z, y, x = (c.reshape(num, -1) for c in cells)
    last = feature.movedim(1, -1)
    crop = last[
        batch[:, None, None, None],
        z[:, :, None, None],
        y[:, None, :, None],
        x[:, None, None, :],
    ]
    wz, wy, wx = (c.shape[2] for c in cells)
    crop = crop.view(num, k, wz, k, wy, k, wx, channels)
    return crop.amax((2, 4, 6)).movedim(-1, 1)


def roi_align(
    feature: Tensor, rois: Tensor, *, output_size: int = 7, stride: int = 4
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
    """
    k = output_size
    if len(rois) == 0:
        return feature.new_zeros((0, feature.shape[1], k, k, k))
    fraction = (torch.arange(k, device=rois.device) + 0.5) / k
    low, high = rois[:, 1:4], rois[:, 4:7]
    points = low[:, :, None] + (high - low)[:, :, None] * fraction
    size = rois.new_tensor(list(feature.shape[2:]))[:, None]
    grid = (points / stride / size * 2 - 1).to(feature.dtype)
    z, y, x = grid[:, 0], grid[:, 1], grid[:, 2]
    shape = (len(rois), k, k, k)
    sample = torch.stack(
        [
            x[:, None, None, :].expand(shape),
            y[:, None, :, None].expand(shape),
            z[:, :, None, None].expand(shape),
        ],
        dim=-1,
    )
    out = feature.new_zeros((len(rois), feature.shape[1], k, k, k))
    for image in range(feature.shape[0]):
        mine = torch.nonzero(rois[:, 0].long() == image).flatten()
        if len(mine):
            out[mine] = F.grid_sample(
                feature[image : image + 1].expand(len(mine), -1, -1, -1, -1),
                sample[mine],
                mode='bilinear',
                padding_mode='border',
                align_corners=False,
            )
    return out
