"""Assignment of anchors by a threshold that each nodule sets itself."""

from __future__ import annotations

import torch
from torch import Tensor

from lungdet.models.task_modules.assigners import (
    Assigner3D,
    AssignResult,
)
from lungdet.ops import box_centers, box_iou
from lungdet.registry import TASK_UTILS


@TASK_UTILS.register_module()
class ATSSAssigner3D(Assigner3D):
    """Adaptive training sample selection.

    The candidates of a nodule are the anchors of every size in the ``topk``
    nearest cells. Those whose overlap is at least the mean of the candidates'
    overlaps plus their standard deviation are positive. So is the one with the
    largest overlap, which lies below that if a few are equal. All other
    anchors are negative. An anchor that several nodules claim goes to the one
    that it overlaps most.

    Args:
        topk: Nearest cells of a nodule.
        center_inside: A positive's centre must lie in the nodule, as in the
            paper; False as in nnDetection, since few centres of a grid of
            stride 4 lie in a small nodule.

    Source: Zhang et al. 2020, algorithm 1, with one map and the anchor sizes
        in place of its levels; nnDetection for ``center_inside``.
    """

    def __init__(self, topk: int = 4, *, center_inside: bool = False) -> None:
        self.topk = topk
        self.center_inside = center_inside

    def match(self, boxes: Tensor, gt: Tensor, per_cell: int) -> AssignResult:
        positive = torch.zeros_like(boxes[:, 0], dtype=torch.bool)
        gt_inds = torch.zeros_like(positive, dtype=torch.long)
        if len(boxes) and len(gt):
            iou = box_iou(boxes, gt)
            claims = self._claims(boxes, gt, iou, per_cell)
            best, gt_inds = iou.masked_fill(~claims, -1).max(1)
            positive = best >= 0
        return AssignResult(positive, ~positive, gt_inds)

    def _claims(
        self, boxes: Tensor, gt: Tensor, iou: Tensor, per_cell: int
    ) -> Tensor:
        """Anchors that each nodule claims, (N, M) bool; N and M > 0."""
        offset = box_centers(boxes)[:, None] - box_centers(gt)
        cells = offset[::per_cell].norm(dim=-1)
        nearest = cells.sort(dim=0, stable=True).indices[: self.topk]
        sizes = torch.arange(per_cell, device=boxes.device)
        candidates = nearest[:, None] * per_cell + sizes[:, None]
        candidates = candidates.flatten(0, 1)
        overlap = iou.gather(0, candidates)
        threshold = overlap.mean(0) + overlap.std(0, correction=0)
        if len(overlap) > 1:
            threshold = overlap.mean(0) + overlap.std(0)
        chosen = (overlap >= threshold) & (overlap > 0)
        if self.center_inside:
            inside = (offset.abs() < (gt[:, 3:] - gt[:, :3]) / 2).all(-1)
            chosen &= inside.gather(0, candidates)
        chosen.scatter_(0, overlap.argmax(0, keepdim=True), True)
        claims = torch.zeros_like(iou, dtype=torch.bool)
        return claims.scatter_(0, candidates, chosen)
