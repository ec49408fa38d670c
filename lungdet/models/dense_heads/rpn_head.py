"""Region proposal network: a score and a box for every anchor."""

from __future__ import annotations

import math

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from lungdet.models.losses import smooth_l1_per_coordinate
from lungdet.models.task_modules import Assignment
from lungdet.ops import clip_box_centers, nms
from lungdet.registry import MODELS, TASK_UTILS


@MODELS.register_module()
class RPN3DHead(BaseModule):
    """Nodule candidate screening on the decoder's map.

    Args:
        in_channels: Channels of ``comb2``.
        feat_channels: Hidden channels.
        anchor_generator: Dict of an anchor generator.
        bbox_coder: Dict of a box coder.
        assigner: Dict of an assigner.
        sampler: Dict of an anchor sampler.
        loss_cls: Dict of a loss taking (logits, positive, negative).
        loss_bbox_weight: Factor of the box loss.
        prior: Score of every anchor at the start (focal loss wants a small
            one); None keeps torch's initialisation, as published.

    Source: NoduleNet (Tang et al. 2019).
    """

    def __init__(
        self,
        in_channels: int = 128,
        feat_channels: int = 64,
        *,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        assigner: dict | None = None,
        sampler: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox_weight: float = 1.0,
        prior: float | None = None,
    ) -> None:
        super().__init__()
        build = TASK_UTILS.build
        self.anchors = build(anchor_generator or {'type': 'AnchorGenerator3D'})
        self.coder = build(
            bbox_coder or {'type': 'DeltaBoxCoder3D', 'max_dlog': 4.0}
        )
        self.assigner = build(assigner or {'type': 'MaxIoUAssigner3D'})
        self.sampler = build(sampler or {'type': 'AnchorSampler3D'})
        self.loss_cls = MODELS.build(loss_cls or {'type': 'HardNegativeBCE'})
        self.loss_bbox_weight = loss_bbox_weight
        num = self.anchors.num_anchors
        self.conv = nn.Sequential(
            nn.Conv3d(in_channels, feat_channels, 1), nn.ReLU(inplace=True)
        )
        self.logits = nn.Conv3d(feat_channels, num, 1)
        self.deltas = nn.Conv3d(feat_channels, 6 * num, 1)
        if prior is not None:
            assert self.logits.bias is not None
            nn.init.constant_(self.logits.bias, math.log(prior / (1 - prior)))

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, D, H, W) -> logits (B, N) and deltas (B, N, 6).

        N runs over cells (z, y, x), then anchors, as the generator's boxes.
        """
        hidden = self.conv(feature)
        batch = feature.shape[0]
        logits = self.logits(hidden).permute(0, 2, 3, 4, 1)
        deltas = self.deltas(hidden).permute(0, 2, 3, 4, 1)
        return logits.reshape(batch, -1), deltas.reshape(batch, -1, 6)

    def targets(
        self,
        anchors: Tensor,
        gt: Tensor,
        ignored: Tensor | None = None,
    ) -> Assignment:
        """Roles of the anchors (N, 6) of one crop with boxes (M, 6)."""
        assigned = self.assigner.assign(anchors, gt, ignored)
        return self.sampler.sample(assigned, self.training)

    def loss(
        self,
        logits: Tensor,
        deltas: Tensor,
        *,
        anchors: Tensor,
        gt_boxes: list[Tensor],
        ignored_boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        """``loss_rpn_cls`` and ``loss_rpn_bbox`` of a batch, flattened.

        Args:
            logits: (B, N).
            deltas: (B, N, 6).
            anchors: (N, 6).
            gt_boxes: (M, 6) of each crop, M may be 0.
            ignored_boxes: (K, 6) of each crop, K may be 0.
        """
        roles = [
            self.targets(anchors, gt, ignored)
            for gt, ignored in zip(gt_boxes, ignored_boxes)
        ]
        positive = torch.cat([role.positive for role in roles])
        negative = torch.cat([role.negative for role in roles])
        wanted = [
            self.coder.encode(
                anchors[role.positive], gt[role.gt_inds[role.positive]]
            )
            for role, gt in zip(roles, gt_boxes)
        ]
        bbox = smooth_l1_per_coordinate(
            deltas.flatten(0, 1)[positive], torch.cat(wanted)
        )
        return {
            'loss_rpn_cls': self.loss_cls(
                logits.flatten(), positive, negative
            ),
            'loss_rpn_bbox': self.loss_bbox_weight * bbox,
        }

    @torch.no_grad()
    def proposals(
        self,
        logits: Tensor,
        deltas: Tensor,
        *,
        anchors: Tensor,
        img_shape: tuple[int, int, int],
        cfg: dict,
    ) -> list[InstanceData]:
        """Candidates of each image, best first.

        Args:
            logits: (B, N).
            deltas: (B, N, 6).
            anchors: (N, 6).
            img_shape: Input voxels (z, y, x).
            cfg: ``score_thr`` (a candidate's score is above), ``nms_thr``,
                ``nms_pre`` (best kept before NMS) and ``max_num`` (after),
                None = all.

        Returns:
            For each image ``bboxes`` (K, 6) and ``scores`` (K,).
        """
        found = []
        for image_logits, image_deltas in zip(logits, deltas):
            scores = image_logits.sigmoid()
            inds = torch.nonzero(scores > cfg['score_thr']).flatten()
            nms_pre = cfg.get('nms_pre')
            if nms_pre is not None and len(inds) > nms_pre:
                inds = inds[scores[inds].topk(nms_pre).indices.sort().values]
            boxes = self.coder.decode(anchors[inds], image_deltas[inds])
            boxes = clip_box_centers(boxes, img_shape)
            scores = scores[inds]
            keep = nms(boxes, scores, cfg['nms_thr'])[: cfg.get('max_num')]
            found.append(InstanceData(bboxes=boxes[keep], scores=scores[keep]))
        return found
