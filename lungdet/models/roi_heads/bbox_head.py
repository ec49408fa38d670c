"""False-positive reduction: a class and a refined box for every proposal."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.layers import ACT_CFG, norm_and_activation
from lungdet.models.task_modules import SamplingResult
from lungdet.ops import clip_box_centers
from lungdet.registry import MODELS, TASK_UTILS


@MODELS.register_module()
class BBox3DHead(BaseModule):
    """Two hidden layers, then a class and a box for every class.

    Args:
        in_channels: Channels of the pooled features.
        fc_channels: Widths of the two hidden layers.
        roi_feat_size: Bins per axis of the pooled features.
        num_classes: Foreground classes.
        bbox_coder: Dict of a box coder.
        loss_cls: Dict of a loss taking (logits, labels).
        loss_bbox: Dict of a loss taking (deltas, targets) of positives.
        norm_cfg: Norm of the hidden layers, which are rows: ``'LN'`` or
            ``'GN'`` (batch norms need two RoIs in every step); None for none.
        act_cfg: Their activation, as in mmcv.

    Source: NoduleNet (Tang et al. 2019); layers named as published.
    """

    def __init__(
        self,
        in_channels: int = 64,
        fc_channels: tuple[int, int] = (512, 256),
        *,
        roi_feat_size: int = 7,
        num_classes: int = 1,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if norm_cfg and '3d' in str(norm_cfg.get('type')):
            raise ConfigError(
                f'BBox3DHead.norm_cfg: {norm_cfg["type"]!r} normalises '
                "volumes, but the hidden layers have rows; take 'LN' or "
                "dict(type='GN', num_groups=...)."
            )
        self.bbox_coder = TASK_UTILS.build(
            bbox_coder or {'type': 'DeltaBoxCoder3D', 'max_dlog': 4.0}
        )
        self.loss_cls = MODELS.build(
            loss_cls or {'type': 'BalancedCrossEntropy'}
        )
        self.loss_bbox = MODELS.build(loss_bbox or {'type': 'SmoothL1BoxLoss'})
        self.num_classes = num_classes
        self.roi_feat_size = roi_feat_size
        first, second = fc_channels
        self.fc1 = nn.Linear(in_channels * roi_feat_size**3, first)
        self.fc2 = nn.Linear(first, second)
        act_cfg = act_cfg or ACT_CFG
        self.after_fc1 = nn.Sequential(
            *norm_and_activation(first, norm_cfg, act_cfg)
        )
        self.after_fc2 = nn.Sequential(
            *norm_and_activation(second, norm_cfg, act_cfg)
        )
        self.logit = nn.Linear(second, num_classes + 1)
        self.delta = nn.Linear(second, 6 * (num_classes + 1))

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C, k, k, k) -> logits (R, classes + 1), deltas (R, 6 * ...)."""
        hidden = self.after_fc1(self.fc1(pooled.flatten(1)))
        hidden = self.after_fc2(self.fc2(hidden))
        return self.logit(hidden), self.delta(hidden)

    def get_targets(
        self, sampled: list[SamplingResult], gt_boxes: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Labels (R,) of all rows, 0 background, and deltas (P, 6) of the
        positive ones."""
        labels, deltas = [], []
        for result, gt in zip(sampled, gt_boxes):
            num_pos = len(result.pos_gt_inds)
            label = result.pos_gt_inds.new_zeros(len(result.priors))
            label[:num_pos] = 1
            labels.append(label)
            matched = gt[result.pos_gt_inds].to(result.priors.dtype)
            deltas.append(self.bbox_coder.encode(result.pos_priors, matched))
        return torch.cat(labels), torch.cat(deltas)

    def loss(
        self,
        logits: Tensor,
        deltas: Tensor,
        labels: Tensor,
        bbox_targets: Tensor,
    ) -> dict[str, Tensor]:
        """``loss_rcnn_cls`` and ``loss_rcnn_bbox``; zero without rows.

        Args:
            logits: (R, classes + 1).
            deltas: (R, 6 * (classes + 1)).
            labels: (R,) long, 0 background; on the CPU, so that the host
                knows how many are positive.
            bbox_targets: (P, 6) of the rows whose label is not 0, in order.
        """
        rows = torch.nonzero(labels).flatten()
        rows, of_class, labels, bbox_targets = (
            value.to(logits.device, non_blocking=True)
            for value in (rows, labels[rows], labels, bbox_targets)
        )
        return {
            'loss_rcnn_cls': self.loss_cls(logits, labels),
            'loss_rcnn_bbox': self.loss_bbox(
                self._by_class(deltas)[rows, of_class], bbox_targets
            ),
        }

    @torch.no_grad()
    def predict(
        self,
        boxes: Tensor,
        logits: Tensor,
        deltas: Tensor,
        img_shape: tuple[int, int, int],
    ) -> tuple[Tensor, Tensor]:
        """Refined boxes (R, 6) and nodule probabilities (R,)."""
        scores = logits.softmax(1)[:, 1]
        boxes = self.bbox_coder.decode(boxes, self._by_class(deltas)[:, 1])
        return clip_box_centers(boxes, img_shape), scores

    def _by_class(self, deltas: Tensor) -> Tensor:
        return deltas.unflatten(1, (self.num_classes + 1, 6))
