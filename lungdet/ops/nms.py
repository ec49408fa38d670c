"""Greedy non-maximum suppression in 3D."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lungdet.ops.boxes import box_centers, box_iou, box_sides

BOXES_AT_ONCE = 1024  # boxes compared at once; 4 MiB of IoU per block pair
ROUNDS = 16  # of suppression between two checks whether it has ended


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_thr: float | None,
    *,
    center_distance: float | None = None,
    center_radii: float | None = None,
) -> Tensor:
    """Keep the best of boxes that show the same object.

    A box is dropped when its IoU with a better kept box is > ``iou_thr``, or
    their centres are nearer than ``center_distance``, or than
    ``center_radii`` times the larger one's radius; of equal scores the
    smaller index is better.

    Args:
        boxes: (N, 6) edge boxes.
        scores: (N,).
        iou_thr: Overlap above which the worse box is dropped; None ignores
            overlap.
        center_distance: Distance of the centres, in voxels, below which the
            worse box is dropped; None ignores distance.
        center_radii: The same in radii, half a box's ``box_sides``.

    Returns:
        Indices (K,) of the kept boxes, best first.

    Examples:
        >>> boxes = torch.tensor([[0., 0, 0, 4, 4, 4], [0, 0, 1, 4, 4, 5],
        ...                       [9, 9, 9, 12, 12, 12]])
        >>> nms(boxes, torch.tensor([0.6, 0.8, 0.9]), iou_thr=0.1)
        tensor([2, 1])
        >>> nms(boxes, torch.tensor([0.6, 0.8, 0.9]), None, center_distance=1)
        tensor([2, 1, 0])
    """
    same = partial(
        same_object,
        iou_thr=iou_thr,
        center_distance=center_distance,
        center_radii=center_radii,
    )
    order = torch.sort(scores, descending=True, stable=True).indices
    boxes, kept = boxes[order], []
    while len(order):  # each turn settles the best of the rest
        head, rest = boxes[:BOXES_AT_ONCE], boxes[BOXES_AT_ONCE:]
        stays = _greedy(same(head, head).triu(1))
        kept.append(order[:BOXES_AT_ONCE][stays])
        left = ~_same_as_any(rest, head[stays], same)
        boxes, order = rest[left], order[BOXES_AT_ONCE:][left]
    return torch.cat(kept) if kept else order


def nms_of_images(
    boxes: Tensor, scores: Tensor, is_real: Tensor, iou_thr: float | None
) -> tuple[Tensor, Tensor]:
    """``nms`` of several images at once, without waiting for each of them.

    Args:
        boxes: (B, K, 6) edge boxes, some of them padding; B K K values are
            held in memory.
        scores: (B, K), those of padding below all others.
        is_real: (B, K) bool, False for padding.
        iou_thr: As in ``nms``.

    Returns:
        Order (B, K) of each image's boxes, best first, and whether the box at
        each position of it is kept.

    Examples:
        >>> boxes = torch.tensor([[[0., 0, 0, 4, 4, 4], [0, 0, 1, 4, 4, 5]]])
        >>> real = torch.tensor([[True, True]])
        >>> nms_of_images(boxes, torch.tensor([[0.6, 0.8]]), real, 0.1)
        (tensor([[1, 0]]), tensor([[ True, False]]))
    """
    order = scores.sort(dim=1, descending=True, stable=True).indices
    boxes = boxes.gather(1, order[..., None].expand_as(boxes))
    same = [same_object(b, b, iou_thr=iou_thr) for b in boxes]
    return order, _greedy(torch.stack(same).triu(1)) & is_real.gather(1, order)


def same_object(
    boxes_a: Tensor,
    boxes_b: Tensor,
    *,
    iou_thr: float | None,
    center_distance: float | None = None,
    center_radii: float | None = None,
) -> Tensor:
    """Whether two boxes show the same object, by the rules of ``nms``.

    Args:
        boxes_a: (N, 6) edge boxes.
        boxes_b: (M, 6) edge boxes.
        iou_thr: As in ``nms``.
        center_distance: As in ``nms``.
        center_radii: As in ``nms``.

    Returns:
        (N, M) bool.

    Examples:
        >>> boxes = torch.tensor([[0., 0, 0, 4, 4, 4], [0, 0, 1, 4, 4, 5]])
        >>> same_object(boxes, boxes[:1], iou_thr=0.7)
        tensor([[ True],
                [False]])
    """
    same = boxes_a.new_zeros(len(boxes_a), len(boxes_b), dtype=torch.bool)
    if iou_thr is not None:
        same = box_iou(boxes_a, boxes_b) > iou_thr
    if center_distance or center_radii:
        offset = box_centers(boxes_a)[:, None] - box_centers(boxes_b)
        side = torch.maximum(box_sides(boxes_a)[:, None], box_sides(boxes_b))
        reach = side * (center_radii or 0.0) / 2
        reach = reach.clamp(min=center_distance or 0.0)
        same = same | (offset.norm(dim=-1) < reach)
    return same


def _same_as_any(boxes: Tensor, winners: Tensor, same: Callable) -> Tensor:
    return torch.cat(
        [same(part, winners).any(1) for part in boxes.split(BOXES_AT_ONCE)]
    )


def _greedy(beats: Tensor) -> Tensor:
    """Resolve ``beats[..., i, j]`` (i better than j) as a greedy loop would.

    Repeats "j stays unless a staying i beats it" until nothing changes. The
    fixed point is unique, because i beats only later j, and is reached after
    as many rounds as the longest chain of suppressions. The host checks only
    every ``ROUNDS`` rounds, since it waits for the device then.
    """
    weight = beats.float()
    stays = beats.new_ones(beats.shape[:-1])
    while True:
        for _ in range(ROUNDS):
            before = stays
            stays = (stays.float().unsqueeze(-2) @ weight).squeeze(-2) == 0
        if torch.equal(before, stays):
            return stays
