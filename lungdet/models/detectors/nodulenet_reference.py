"""The faults of the NoduleNet authors' code, one class each.

``configs/nodulenet_reference.py`` uses them in place of the repaired classes,
so that the published behaviour can be measured. They have no other use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lungdet.models.feature_maps import STRIDE
from lungdet.models.roi_heads.mask_head import Mask3DHead, crop_masks
from lungdet.models.roi_heads.nodule_roi_head import NoduleRoIHead
from lungdet.models.task_modules import (
    AnchorSampler3D,
    AssignResult,
    MaxIoUAssigner3D,
    RoISampler3D,
    SamplingResult,
)
from lungdet.models.task_modules.samplers import random_subset
from lungdet.ops import box_iou, from_host, nms
from lungdet.registry import MODELS, TASK_UTILS


@TASK_UTILS.register_module()
class PublishedAssigner3D(MaxIoUAssigner3D):
    """Forces a match even if a nodule overlaps no anchor.

    The best overlap is then 0, and every anchor that has it is positive.
    """

    def best_boxes(self, iou: Tensor) -> Tensor:
        return iou == iou.max(0).values

    def claimed(self, boxes: Tensor, ignored: Tensor, per_cell: int) -> Tensor:
        # by overlap alone: an ignored box that overlaps no anchor must not
        # take them all
        return (box_iou(boxes, ignored) >= self.pos_iou).any(1)


@TASK_UTILS.register_module()
class PublishedAnchorSampler3D(AnchorSampler3D):
    """One positive per crop, however many nodules it has."""

    def sample_pos(self, assigned: AssignResult) -> Tensor:
        return random_subset(assigned.positive, 1)


@TASK_UTILS.register_module()
class PublishedRoISampler3D(RoISampler3D):
    """The true boxes join the proposals in validation as well."""

    def sample(
        self,
        assigned: AssignResult,
        proposals: Tensor,
        gt_boxes: Tensor,
        training: bool,
    ) -> SamplingResult:
        return super().sample(assigned, proposals, gt_boxes, True)


@MODELS.register_module()
class PublishedRoIHead(NoduleRoIHead):
    """Trains the mask head on detections instead of the sampled positives.

    While a network detects nothing, its mask head is not trained.

    Args:
        score_thr: Smallest score of detections in training.
        nms_thr: IoU above which the worse detection is dropped.
        **kwargs: As in ``NoduleRoIHead``.
    """

    def __init__(
        self, score_thr: float = 0.5, nms_thr: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.score_thr = score_thr
        self.nms_thr = nms_thr

    def mask_rois(
        self,
        rois: Tensor,
        labels: Tensor,
        logits: Tensor,
        deltas: Tensor,
        *,
        img_shape: tuple[int, int, int],
    ) -> Tensor:
        rois = rois.to(logits.device)
        return self.detections(
            rois, logits, deltas, img_shape=img_shape, score_thr=self.score_thr
        )

    @torch.no_grad()
    def detections(
        self,
        rois: Tensor,
        logits: Tensor,
        deltas: Tensor,
        *,
        img_shape: tuple[int, int, int],
        score_thr: float,
    ) -> Tensor:
        """RoIs (K, 7) refined, above ``score_thr``, after NMS per image."""
        boxes, scores = self.bbox_head.predict(
            rois[:, 1:], logits, deltas, img_shape
        )
        kept = []
        for index in rois[:, 0].unique():
            of_image = (rois[:, 0] == index) & (scores > score_thr)
            rows = torch.nonzero(of_image).flatten()
            rows = rows[nms(boxes[rows], scores[rows], self.nms_thr)]
            kept.append(torch.cat([rois[rows, :1], boxes[rows]], dim=1))
        return torch.cat(kept) if kept else rois[:0]


@MODELS.register_module()
class PublishedMask3DHead(Mask3DHead):
    """Truncates boxes, and uses nodule ids as targets."""

    def align(self, rois: Tensor, img_shape: Sequence[int]) -> Tensor:
        """Whole cells of RoIs (R, 7), sometimes too few.

        Positions are voxel centres, and the end is truncated to an integer
        before it is widened: up to a cell is lost, and a small box can become
        empty.
        """
        side = from_host(list(img_shape), rois).long()
        low = (rois[:, 1:4] - 0.5).trunc().long()
        high = (rois[:, 4:7] - 0.5).trunc().long()
        low = low.div(STRIDE, rounding_mode='floor') * STRIDE
        high = -(-high).div(STRIDE, rounding_mode='floor') * STRIDE
        low, high = (torch.minimum(v.clamp(min=0), side) for v in (low, high))
        return torch.cat([rois[:, :1].long(), low, high], dim=1)

    def get_targets(
        self, boxes: Tensor, gt_masks: list[Tensor], ids: Tensor
    ) -> list[Tensor]:
        """The raw ids in each box, as if they were probabilities.

        So only boxes with id 1 contribute to training.
        """
        return crop_masks(boxes, gt_masks)
