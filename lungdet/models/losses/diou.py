"""Box regression by overlap and distance of the centres."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from lungdet.ops import box_volume
from lungdet.registry import MODELS

MAX_DLOG = 4.0  # sides above e^4 anchors are as wrong as any


@MODELS.register_module()
class DIoUBoxLoss(BaseModule):
    """1 - IoU + (distance of the centres / diagonal of both boxes)^2.

    From the deltas of a ``DeltaBoxCoder3D``, as smooth L1 gets them: boxes
    are compared in units of their anchor, which changes neither term where
    the anchor is a cube.

    Args:
        weights: Those of the coder.
        loss_weight: Factor.

    Source: Zheng et al. 2020, equations 6 and 7, in 3D.
    """

    def __init__(
        self,
        weights: Sequence[float] = (1.0,) * 6,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = tuple(weights)
        self.loss_weight = loss_weight

    def forward(self, deltas: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of (P, 6) deltas; 0 without rows."""
        if len(deltas) == 0:
            return deltas.sum() * 0
        loss = diou_loss(self._boxes(deltas), self._boxes(targets))
        return self.loss_weight * loss.mean()

    def _boxes(self, deltas: Tensor) -> Tensor:
        """Edge boxes (P, 6) in units of the anchor, whose centre is 0."""
        deltas = deltas / deltas.new_tensor(self.weights)
        half = deltas[:, 3:].clamp(max=MAX_DLOG).exp() / 2
        return torch.cat([deltas[:, :3] - half, deltas[:, :3] + half], dim=1)


def diou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Loss (P,) of edge boxes (P, 6) with positive sides, 0 to 2.

    Examples:
        >>> boxes = torch.tensor([[0., 0, 0, 2, 2, 2]])
        >>> diou_loss(boxes, boxes), diou_loss(boxes, boxes + 2)
        (tensor([0.]), tensor([1.2500]))
    """
    low = torch.maximum(boxes[:, :3], targets[:, :3])
    high = torch.minimum(boxes[:, 3:], targets[:, 3:])
    overlap = (high - low).clamp(min=0).prod(1)
    union = box_volume(boxes) + box_volume(targets) - overlap
    first = torch.minimum(boxes[:, :3], targets[:, :3])
    last = torch.maximum(boxes[:, 3:], targets[:, 3:])
    diagonal = (last - first).square().sum(1)
    offset = (
        boxes[:, :3] + boxes[:, 3:] - targets[:, :3] - targets[:, 3:]
    ) / 2
    return 1 - overlap / union + offset.square().sum(1) / diagonal
