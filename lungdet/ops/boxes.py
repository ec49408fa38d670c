"""Edge boxes (z1, y1, x1, z2, y2, x2) as tensors; oracle: geometry.boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def from_host(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers as a tensor of another's type and device.

    Unlike in ``new_tensor``, the host does not wait for the device.

    Args:
        values: Numbers.
        like: Has the type and device.

    Examples:
        >>> from_host([1, 2.5], like=torch.zeros(1))
        tensor([1.0000, 2.5000])
    """
    here = torch.tensor(values, dtype=like.dtype)
    return here.to(like.device, non_blocking=True)


def box_volume(boxes: Tensor) -> Tensor:
    """Volume of each box in voxels; a negative side counts as 0.

    Args:
        boxes: (..., 6) edge boxes.

    Returns:
        (...).

    Examples:
        >>> box_volume(torch.tensor([[0, 0, 0, 2, 3, 4], [5, 5, 5, 4, 9, 9]]))
        tensor([24,  0])
    """
    return (boxes[..., 3:] - boxes[..., :3]).clamp(min=0).prod(-1)


def box_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Intersection over union of every pair of boxes.

    Args:
        boxes_a: (N, 6) edge boxes.
        boxes_b: (M, 6) edge boxes.

    Returns:
        (N, M), 0 where both boxes are empty.

    Examples:
        >>> boxes = torch.tensor([[0., 0, 0, 2, 2, 2], [0, 0, 1, 2, 2, 3]])
        >>> box_iou(boxes, boxes)
        tensor([[1.0000, 0.3333],
                [0.3333, 1.0000]])
    """
    inter: Tensor | None = None
    for axis in range(3):  # axis by axis: needs a third of the peak memory
        low = torch.maximum(boxes_a[:, None, axis], boxes_b[:, axis])
        high = torch.minimum(boxes_a[:, None, axis + 3], boxes_b[:, axis + 3])
        side = (high - low).clamp(min=0)
        inter = side if inter is None else inter * side
    assert inter is not None
    union = box_volume(boxes_a)[:, None] + box_volume(boxes_b) - inter
    return (inter / union).masked_fill(inter <= 0, 0)


def box_centers(boxes: Tensor) -> Tensor:
    """Centres of boxes.

    Args:
        boxes: (..., 6) edge boxes.

    Returns:
        (..., 3), edge coordinates.

    Examples:
        >>> box_centers(torch.tensor([[0, 0, 0, 2, 3, 4]]))
        tensor([[1.0000, 1.5000, 2.0000]])
    """
    return (boxes[..., :3] + boxes[..., 3:]) / 2


def box_sides(boxes: Tensor) -> Tensor:
    """Side of the cube as large as each box: the geometric mean of its sides.

    Args:
        boxes: (..., 6) edge boxes; a side below 0.001 counts as 0.001.

    Returns:
        (...) in voxels.

    Examples:
        >>> box_sides(torch.tensor([[0., 0, 0, 2, 4, 8], [5, 5, 5, 8, 8, 8]]))
        tensor([4., 3.])
    """
    sides = (boxes[..., 3:] - boxes[..., :3]).clamp(min=1e-3)
    return sides.log().mean(-1).exp()


def grow_boxes(boxes: Tensor, border: float) -> Tensor:
    """Boxes with longer sides and the same centres.

    Args:
        boxes: (..., 6) edge boxes.
        border: Voxels added to the length of each side; negative values
            shorten it, to 1 voxel at least.

    Returns:
        (..., 6).

    Examples:
        >>> grow_boxes(torch.tensor([[4., 4, 4, 6, 8, 14]]), -4)
        tensor([[ 4.5000,  5.5000,  6.0000,  5.5000,  6.5000, 12.0000]])
    """
    center, sides = box_centers(boxes), boxes[..., 3:] - boxes[..., :3]
    half = torch.maximum(sides + border, sides.clamp(max=1)) / 2
    return torch.cat([center - half, center + half], dim=-1)


def centers_in_boxes(boxes: Tensor, regions: Tensor) -> Tensor:
    """Whether the centre of each box lies in any region.

    A region includes its lower faces, not its upper ones.

    Args:
        boxes: (N, 6) edge boxes.
        regions: (M, 6) edge boxes.

    Returns:
        Boolean (N,).

    Examples:
        >>> regions = torch.tensor([[0, 0, 0, 4, 4, 4]])
        >>> boxes = torch.tensor([[1, 1, 1, 3, 3, 3], [2, 2, 2, 6, 6, 6]])
        >>> centers_in_boxes(boxes, regions)
        tensor([ True, False])
    """
    center = box_centers(boxes)[:, None]
    inside = (center >= regions[:, :3]) & (center < regions[:, 3:])
    return inside.all(-1).any(1)


def centers_inside(
    boxes: Tensor, shape: Sequence[int], margin: float
) -> Tensor:
    """Whether each box's centre keeps a distance from a volume's faces.

    Args:
        boxes: (N, 6) edge boxes.
        shape: Volume (z, y, x).
        margin: Voxels between the centre and every face, at least.

    Returns:
        Boolean (N,).

    Examples:
        >>> boxes = torch.tensor([[3, 3, 3, 5, 5, 5], [3, 3, 2, 5, 5, 5]])
        >>> centers_inside(boxes, (8, 8, 9), margin=4)
        tensor([ True, False])
    """
    center = box_centers(boxes)
    high = center.new_tensor(list(shape)) - margin
    return ((center >= margin) & (center <= high)).all(-1)


def boxes_touching(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Whether each box overlaps a volume; a shared face does not count.

    Args:
        boxes: (N, 6) edge boxes.
        shape: Volume (z, y, x).

    Returns:
        Boolean (N,).

    Examples:
        >>> boxes = torch.tensor([[-2, 0, 0, 0, 4, 4], [-2, 0, 7, 1, 4, 9]])
        >>> boxes_touching(boxes, (8, 8, 8))
        tensor([False,  True])
    """
    high = from_host(list(shape), boxes)
    return ((boxes[..., 3:] > 0) & (boxes[..., :3] < high)).all(-1)


def clip_box_centers(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Move boxes so that every centre lies within the volume's voxel centres.

    The centre's index is clamped to [0, side - 1] on each axis; sizes stay.

    Args:
        boxes: (N, 6) edge boxes.
        shape: Volume (z, y, x).

    Returns:
        (N, 6).

    Source: NoduleNet, ``clip_boxes`` of the published code.

    Examples:
        >>> clip_box_centers(torch.tensor([[-4., 0, 6, -2, 2, 14]]), (9, 9, 9))
        tensor([[-0.5000,  0.0000,  4.5000,  1.5000,  2.0000, 12.5000]])
    """
    high = from_host(list(shape), boxes) - 0.5
    center = box_centers(boxes)
    shift = torch.minimum(center.clamp(min=0.5), high) - center
    return boxes + torch.cat([shift, shift], dim=1)


def centers_near_mask(boxes: Tensor, mask: Tensor, margin: float) -> Tensor:
    """Whether each box's centre is within a distance of a mask.

    Args:
        boxes: (K, 6) edge boxes, on the CPU.
        mask: (D, H, W) bool, on the CPU.
        margin: Voxels to the nearest voxel's centre; a point in a voxel of
            the mask is always near.

    Returns:
        (K,) bool.

    Examples:
        >>> mask = torch.zeros(1, 1, 9, dtype=torch.bool)
        >>> mask[0, 0, 2] = True
        >>> boxes = torch.tensor([[0., 0, 4, 1, 1, 5], [0, 0, 5, 1, 1, 6]])
        >>> centers_near_mask(boxes, mask, 2.0)
        tensor([ True, False])
    """
    index = box_centers(boxes).double() - 0.5
    shape = torch.tensor(mask.shape)
    nearest = (index + 0.5).floor().long()
    low = (index - margin).ceil().long().clamp(min=0)
    high = (index + margin).floor().long() + 1
    near = torch.zeros(len(boxes), dtype=torch.bool)
    for k, (point, voxel) in enumerate(zip(index, nearest)):
        if ((voxel >= 0) & (voxel < shape)).all() and mask[tuple(voxel)]:
            near[k] = True
            continue
        (z1, y1, x1), (z2, y2, x2) = low[k].tolist(), high[k].tolist()
        part = mask[z1 : max(z2, 0), y1 : max(y2, 0), x1 : max(x2, 0)]
        offsets = part.nonzero() + low[k] - point
        near[k] = bool((offsets.square().sum(1) <= margin**2).any())
    return near
