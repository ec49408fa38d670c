"""Greedy non-maximum suppression in 3D."""

from __future__ import annotations

import torch
from torch import Tensor

from lungdet.ops.boxes import box_iou

BLOCK = 1024  # boxes compared at once; 4 MiB of IoU per block pair


def nms(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tensor:
    """Keep the best boxes of each heap.

    A box is dropped when its IoU with a better kept box is > ``iou_thr``;
    equal scores: the smaller index is the better one.

    Args:
        boxes: (N, 6) edge boxes.
        scores: (N,).
        iou_thr: Overlap above which the worse box goes.

    Returns:
        Indices (K,) of the kept boxes, best first.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    boxes, kept = boxes[order], []
    while len(order):  # each turn settles the best BLOCK of those left
        head, rest = boxes[:BLOCK], boxes[BLOCK:]
        stays = _greedy((box_iou(head, head) > iou_thr).triu(1))
        kept.append(order[:BLOCK][stays])
        left = ~_overlaps_any(rest, head[stays], iou_thr)
        boxes, order = rest[left], order[BLOCK:][left]
    return torch.cat(kept) if kept else order


def _overlaps_any(boxes: Tensor, winners: Tensor, iou_thr: float) -> Tensor:
    return torch.cat(
        [
            (box_iou(part, winners) > iou_thr).any(1)
            for part in boxes.split(BLOCK)
        ]
    )


def _greedy(beats: Tensor) -> Tensor:
    """Resolve ``beats[i, j]`` (i better than j) as a greedy walk would.

    Repeats "j stays unless a staying i beats it" until nothing changes. The
    fixed point is unique, because i beats only later j, and is reached after
    as many rounds as the longest chain of suppressions.
    """
    weight = beats.float()
    stays = torch.ones(len(beats), dtype=torch.bool, device=beats.device)
    while True:
        update = (stays.float() @ weight) == 0
        if torch.equal(update, stays):
            return stays
        stays = update
