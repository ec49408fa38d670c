"""Edge boxes (z1, y1, x1, z2, y2, x2) as tensors; oracle: geometry.boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def box_volume(boxes: Tensor) -> Tensor:
    """Volumes (N,) of (N, 6) boxes; negative sides count as 0."""
    return (boxes[..., 3:] - boxes[..., :3]).clamp(min=0).prod(-1)


def box_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """IoU matrix (N, M) of edge boxes; 0 where both are empty."""
    inter: Tensor | None = None
    for axis in range(3):  # axis by axis: a third of the peak memory
        low = torch.maximum(boxes_a[:, None, axis], boxes_b[:, axis])
        high = torch.minimum(boxes_a[:, None, axis + 3], boxes_b[:, axis + 3])
        side = (high - low).clamp(min=0)
        inter = side if inter is None else inter * side
    assert inter is not None
    union = box_volume(boxes_a)[:, None] + box_volume(boxes_b) - inter
    return (inter / union).masked_fill(inter <= 0, 0)


def box_centers(boxes: Tensor) -> Tensor:
    """Centres (N, 3) of (N, 6) boxes."""
    return (boxes[..., :3] + boxes[..., 3:]) / 2


def centers_in_boxes(boxes: Tensor, regions: Tensor) -> Tensor:
    """Whether the centre of each box (N, 6) lies in any region (M, 6)."""
    center = box_centers(boxes)[:, None]
    inside = (center >= regions[:, :3]) & (center < regions[:, 3:])
    return inside.all(-1).any(1)


def clip_box_centers(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Move boxes so that their centres lie on voxel centres' range.

    The centre index is clamped to [0, side - 1] on each axis, sizes stay
    (the rule of the published system, NoduleNet ``clip_boxes``).

    Args:
        boxes: (N, 6) edge boxes.
        shape: Volume (z, y, x).
    """
    high = boxes.new_tensor(list(shape)) - 0.5
    center = box_centers(boxes)
    shift = torch.minimum(center.clamp(min=0.5), high) - center
    return boxes + torch.cat([shift, shift], dim=1)
