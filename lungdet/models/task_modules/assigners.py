"""Assignment of anchors or proposals to nodules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from lungdet.ops import box_centers, box_iou, box_sides, centers_in_boxes
from lungdet.registry import TASK_UTILS


class AssignResult(NamedTuple):
    """Assignment of N boxes; a box that is neither is ignored.

    Attributes:
        positive: (N,) bool.
        negative: (N,) bool, never true where ``positive`` is.
        gt_inds: (N,) long, the nodule of a positive; meaningless elsewhere.
    """

    positive: Tensor
    negative: Tensor
    gt_inds: Tensor


class Assigner3D(ABC):
    """Assigns boxes to nodules; subclasses say how they match."""

    @abstractmethod
    def match(self, boxes: Tensor, gt: Tensor, per_cell: int) -> AssignResult:
        """As ``assign``, without ignored boxes."""

    def assign(
        self,
        boxes: Tensor,
        gt: Tensor,
        ignored: Tensor | None = None,
        *,
        per_cell: int = 1,
    ) -> AssignResult:
        """Assign (N, 6) boxes to (M, 6) nodules; N and M may be 0.

        An ignored box may be a nodule, such as one that the crop cuts. So no
        box is negative that would be positive if it were one, nor any that is
        centred in it.

        Args:
            boxes: Proposals; or anchors cell by cell, ``per_cell`` sizes in
                each, the same ones in every cell, as ``AnchorGenerator3D``
                makes them.
            gt: The nodules.
            ignored: (K, 6), None for none.
            per_cell: Anchors of a cell.
        """
        assigned = self.match(boxes, gt, per_cell)
        if ignored is None or not len(ignored):
            return assigned
        near = centers_in_boxes(boxes, ignored)
        near |= self.claimed(boxes, ignored, per_cell)
        return assigned._replace(negative=assigned.negative & ~near)

    def claimed(self, boxes: Tensor, ignored: Tensor, per_cell: int) -> Tensor:
        """Boxes (N,) bool that ignored ones would claim if they were nodules.

        Args:
            boxes: (N, 6).
            ignored: (K, 6), K > 0.
            per_cell: As in ``assign``.
        """
        return self.match(boxes, ignored, per_cell).positive


@TASK_UTILS.register_module()
class MaxIoUAssigner3D(Assigner3D):
    """Positive by overlap, and so are the best anchors of every nodule.

    Args:
        pos_iou: Smallest overlap of a positive box.
        neg_iou: Overlap below which a box is negative.
        force_match: Every nodule's best boxes are positive; a later nodule
            takes a box from an earlier one.

    Source: NoduleNet, code (its text says 0.1 for ``neg_iou``).
    """

    def __init__(
        self,
        pos_iou: float = 0.5,
        neg_iou: float = 0.02,
        *,
        force_match: bool = True,
    ) -> None:
        self.pos_iou = pos_iou
        self.neg_iou = neg_iou
        self.force_match = force_match

    def match(self, boxes: Tensor, gt: Tensor, per_cell: int) -> AssignResult:
        num = len(boxes)
        positive = torch.zeros(num, dtype=torch.bool, device=boxes.device)
        gt_inds = torch.zeros(num, dtype=torch.long, device=boxes.device)
        negative = ~positive
        if num and len(gt):
            iou = box_iou(boxes, gt)
            best, gt_inds = iou.max(1)
            positive, negative = best >= self.pos_iou, best < self.neg_iou
            if self.force_match:
                later = torch.arange(len(gt), device=boxes.device) + 1
                last = (self.best_boxes(iou) * later).max(1).values
                positive = positive | (last > 0)
                gt_inds = torch.where(last > 0, last - 1, gt_inds)
                negative = negative & ~positive
        return AssignResult(positive, negative, gt_inds)

    def best_boxes(self, iou: Tensor) -> Tensor:
        """Which boxes are a nodule's best, (N, M) bool, including ties.

        Args:
            iou: (N, M) overlap. A nodule without overlap has no best box.
        """
        best = iou.max(0).values
        return (iou == best) & (best > 0)


@TASK_UTILS.register_module()
class CenterAssigner3D(Assigner3D):
    """Several positives per nodule: the nearest anchors of the best size.

    Of the anchors whose side is nearest to the nodule's (in ratio), the
    ``topk`` nearest to its centre are positive, and those within
    ``inner`` of its side up to ``max_pos``; the anchors of any size among
    the next ``ignore_k`` cells are ignored.

    Args:
        topk: Positives of a small nodule.
        ignore_k: Cells around the positives that are ignored.
        inner: Fraction of the side around the centre that is positive.
        max_pos: Largest number of positives of a nodule.

    Source: CPM-Net's centre-point matching (Song et al. 2020), with anchors.
    """

    def __init__(
        self,
        topk: int = 5,
        ignore_k: int = 25,
        *,
        inner: float = 0.35,
        max_pos: int = 27,
    ) -> None:
        self.topk = topk
        self.ignore_k = ignore_k
        self.inner = inner
        self.max_pos = max_pos

    def match(self, boxes: Tensor, gt: Tensor, per_cell: int) -> AssignResult:
        cells = boxes.reshape(-1, per_cell, 6)
        positive = torch.zeros_like(cells[..., 0], dtype=torch.bool)
        shell = positive.clone()
        gt_inds = torch.zeros_like(positive, dtype=torch.long)
        if len(cells) and len(gt):
            chosen, near = self._claims(cells, gt)
            # the smallest nodule takes an anchor that several claim
            side = box_sides(gt)
            rank = side.argsort(descending=True, stable=True).argsort() + 1
            first, gt_inds = (chosen * rank).max(-1)
            positive = first > 0
            shell = near.any(-1, keepdim=True).expand_as(positive)
        return AssignResult(
            positive.flatten(),
            (~positive & ~shell).flatten(),
            gt_inds.flatten(),
        )

    def _claims(self, cells: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Anchors that each nodule claims, and the cells around them.

        Args:
            cells: (C, A, 6) anchors.
            gt: (M, 6), M > 0.

        Returns:
            (C, A, M) bool, (C, M) bool; the cells include the claimed ones.
        """
        side = box_sides(gt)
        ratio = box_sides(cells[0])[:, None].log() - side.log()
        is_size = ratio.abs().argmin(0) == torch.arange(
            cells.shape[1], device=cells.device
        ).unsqueeze(1)
        offset = box_centers(cells[:, :1]) - box_centers(gt)
        distance = offset.norm(dim=-1)
        sorted_distance, order = distance.sort(dim=0, stable=True)
        within = (distance <= self.inner * side).sum(0)
        count = within.clamp(self.topk, self.max_pos)
        last = (count + self.ignore_k).clamp(max=len(cells)) - 1
        reach = sorted_distance.gather(0, last[None])
        nearest = order.argsort(0) < count
        return nearest[:, None] & is_size, distance <= reach


@TASK_UTILS.register_module()
class DistanceAssigner3D(Assigner3D):
    """Proposals by the distance of their centres, as FROC counts hits.

    A box is positive if its centre lies within a nodule's radius of the
    nodule's centre, where ``reach`` is the least radius; negative if it lies
    more than ``margin`` farther from every nodule. Overlap does not matter:
    with a nodule of 5 mm, half a millimetre decides whether the IoU reaches
    0.5, and most proposals at it miss that.

    Args:
        reach: Voxels within which a box is positive whatever the radius.
        margin: Voxels beyond that in which it is neither.

    Source: LUNA16's rule for a hit (Setio et al. 2017, section 3.3).
    """

    def __init__(self, reach: float = 2.5, margin: float = 4.0) -> None:
        self.reach = reach
        self.margin = margin

    def match(self, boxes: Tensor, gt: Tensor, per_cell: int) -> AssignResult:
        offset = box_centers(boxes)[:, None] - box_centers(gt)
        radius = (box_sides(gt) / 2).clamp(min=self.reach)
        beyond = offset.norm(dim=-1) - radius
        gt_inds = torch.zeros_like(boxes[:, 0], dtype=torch.long)
        if len(gt):
            gt_inds = beyond.argmin(1)
        return AssignResult(
            (beyond <= 0).any(1), (beyond > self.margin).all(1), gt_inds
        )
