"""Greedy non-maximum suppression in 3D."""

from __future__ import annotations

import torch
from torch import Tensor

from lungdet.ops.boxes import box_iou

BLOCK = 2048  # boxes compared at once; 16 MiB of IoU per block pair


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
    boxes = boxes[order]
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(boxes), BLOCK):
        block = slice(start, start + BLOCK)
        overlap = box_iou(boxes[block], boxes[block]) > iou_thr
        keep[block] &= _greedy(overlap.triu(1), keep[block])
        rest = slice(start + BLOCK, None)
        winners = boxes[block][keep[block]]
        if len(winners) and len(boxes[rest]):
            keep[rest] &= ~_overlaps_any(boxes[rest], winners, iou_thr)
    return order[keep]


def _overlaps_any(boxes: Tensor, winners: Tensor, iou_thr: float) -> Tensor:
    return torch.cat(
        [
            (box_iou(part, winners) > iou_thr).any(1)
            for part in boxes.split(BLOCK)
        ]
    )


def _greedy(beats: Tensor, alive: Tensor) -> Tensor:
    """Resolve ``beats[i, j]`` (i better than j) as a greedy walk would.

    Repeats "j stays unless a staying i beats it" until nothing changes. The
    fixed point is unique, because i beats only later j, and is reached after
    as many rounds as the longest chain of suppressions.
    """
    weight = beats.float()
    stays = alive
    while True:
        beaten = (stays.float() @ weight) > 0
        update = alive & ~beaten
        if torch.equal(update, stays):
            return stays
        stays = update


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor, iou_thr: float
) -> Tensor:
    """NMS within each group of ``idxs`` (N,); kept indices, best first."""
    keep = [
        group[nms(boxes[group], scores[group], iou_thr)]
        for group in (
            torch.nonzero(idxs == value).flatten() for value in idxs.unique()
        )
    ]
    if not keep:
        return idxs.new_zeros(0, dtype=torch.long)
    kept = torch.cat(keep).sort().values
    return kept[torch.sort(scores[kept], descending=True, stable=True).indices]
