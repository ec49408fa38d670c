"""False-positive reduction on decoupled features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F

from lungdet.models.losses import (
    balanced_cross_entropy,
    smooth_l1_per_coordinate,
)
from lungdet.ops import clip_box_centers, nms
from lungdet.registry import MODELS, TASK_UTILS


class RoIBatch(NamedTuple):
    """Sampled proposals of a batch of crops.

    Attributes:
        rois: (R, 7), batch index first.
        labels: (R,) long, 0 background.
        targets: (P, 6) deltas of the positive rows, in order.
    """

    rois: Tensor
    labels: Tensor
    targets: Tensor


@MODELS.register_module()
class RCNN3DHead(BaseModule):
    """Classify proposals and refine their boxes.

    Args:
        in_channels: Channels of ``out2``.
        fc_channels: Widths of the two hidden layers.
        extractor: Dict of a RoI extractor.
        bbox_coder: Dict of a box coder.
        assigner: Dict of an assigner for proposals.
        sampler: Dict of a proposal sampler.
        num_classes: Foreground classes.
        add_gt: Add the true boxes to the proposals: in training only, or as
            published also in validation (``'always'``).

    Source: NoduleNet (Tang et al. 2019).
    """

    def __init__(
        self,
        in_channels: int = 64,
        fc_channels: tuple[int, int] = (512, 256),
        *,
        extractor: dict | None = None,
        bbox_coder: dict | None = None,
        assigner: dict | None = None,
        sampler: dict | None = None,
        num_classes: int = 1,
        add_gt: str = 'training',
    ) -> None:
        super().__init__()
        self.extractor = MODELS.build(extractor or {'type': 'RoICrop3D'})
        build = TASK_UTILS.build
        self.coder = build(
            bbox_coder or {'type': 'DeltaBoxCoder3D', 'max_dlog': 4.0}
        )
        self.assigner = build(
            assigner
            or {
                'type': 'MaxIoUAssigner3D',
                'pos_iou': 0.5,
                'neg_iou': 0.1,
                'force_match': False,
            }
        )
        self.sampler = build(sampler or {'type': 'RoISampler3D'})
        self.num_classes = num_classes
        self.add_gt = add_gt
        bins = self.extractor.output_size**3
        self.fc1 = nn.Linear(in_channels * bins, fc_channels[0])
        self.fc2 = nn.Linear(*fc_channels)
        self.logit = nn.Linear(fc_channels[1], num_classes + 1)
        self.delta = nn.Linear(fc_channels[1], 6 * (num_classes + 1))

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C, k, k, k) -> logits (R, classes + 1), deltas (R, 6 * ...)."""
        hidden = F.relu(self.fc1(pooled.flatten(1)))
        hidden = F.relu(self.fc2(hidden))
        return self.logit(hidden), self.delta(hidden)

    @torch.no_grad()
    def sample(
        self,
        proposals: list[InstanceData],
        gt_boxes: list[Tensor],
        ignored_boxes: list[Tensor],
    ) -> RoIBatch:
        """Label and draw the proposals of each crop."""
        rois, labels, targets = [], [], []
        for index, (found, gt, ignored) in enumerate(
            zip(proposals, gt_boxes, ignored_boxes)
        ):
            boxes = found.bboxes
            if self.add_gt == 'always' or self.training:
                boxes = torch.cat([boxes, gt.to(boxes.dtype)])
            assigned = self.assigner.assign(boxes, gt, ignored)
            rows, num_pos = self.sampler.sample(assigned)
            label = torch.zeros_like(rows)
            label[:num_pos] = 1
            matched = assigned.gt_inds[rows]
            chosen = boxes[rows]
            rois.append(
                torch.cat(
                    [chosen.new_full((len(rows), 1), index), chosen], dim=1
                )
            )
            labels.append(label)
            targets.append(
                self.coder.encode(
                    chosen[:num_pos], gt[matched[:num_pos]].to(boxes.dtype)
                )
            )
        return RoIBatch(
            torch.cat(rois),
            torch.cat(labels),
            torch.cat(targets),
        )

    def loss(
        self, logits: Tensor, deltas: Tensor, batch: RoIBatch
    ) -> dict[str, Tensor]:
        """``loss_rcnn_cls`` and ``loss_rcnn_bbox``; zero without rows."""
        positive = batch.labels > 0
        own = deltas.unflatten(1, (self.num_classes + 1, 6))[positive]
        own = own[
            torch.arange(len(own), device=own.device), batch.labels[positive]
        ]
        return {
            'loss_rcnn_cls': balanced_cross_entropy(logits, batch.labels),
            'loss_rcnn_bbox': smooth_l1_per_coordinate(own, batch.targets),
        }

    @torch.no_grad()
    def refine(
        self,
        boxes: Tensor,
        logits: Tensor,
        deltas: Tensor,
        img_shape: tuple[int, int, int],
    ) -> tuple[Tensor, Tensor]:
        """Refined boxes (R, 6) and nodule probabilities (R,)."""
        scores = logits.softmax(1)[:, 1]
        boxes = self.coder.decode(
            boxes, deltas.unflatten(1, (self.num_classes + 1, 6))[:, 1]
        )
        return clip_box_centers(boxes, img_shape), scores

    @torch.no_grad()
    def detections(
        self,
        rois: Tensor,
        logits: Tensor,
        deltas: Tensor,
        *,
        img_shape: tuple[int, int, int],
        cfg: dict,
    ) -> Tensor:
        """RoIs (K, 7) refined, above ``score_thr``, after NMS per image."""
        boxes, scores = self.refine(rois[:, 1:], logits, deltas, img_shape)
        kept = []
        for index in rois[:, 0].unique():
            mine = torch.nonzero(
                (rois[:, 0] == index) & (scores > cfg['score_thr'])
            ).flatten()
            mine = mine[nms(boxes[mine], scores[mine], cfg['nms_thr'])]
            kept.append(torch.cat([rois[mine, :1], boxes[mine]], dim=1))
        return torch.cat(kept) if kept else rois[:0]
