"""Losses of boxes and of their classes."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from lungdet.registry import MODELS


@MODELS.register_module()
class HardNegativeBCE(BaseModule):
    """Half the mean over positives plus half that over hard negatives.

    Args:
        num_hard: Hardest negatives per positive in training; validation
            takes all negatives.
        min_hard: Smallest number of negatives, even without a positive. The
            published value is 0, which gives NaN without positives.
        loss_weight: Factor.

    Source: NoduleNet, RPN classification loss.
    """

    def __init__(
        self,
        num_hard: int = 3,
        min_hard: int = 3,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_hard = num_hard
        self.min_hard = min_hard
        self.loss_weight = loss_weight

    def forward(
        self, logits: Tensor, positive: Tensor, negative: Tensor
    ) -> Tensor:
        """Loss of flat (N,) logits and their roles over the whole batch."""
        # the only time that the host waits for the device
        num_pos, num_neg = torch.stack(
            [positive.sum(), negative.sum()]
        ).tolist()
        of_pos = (F.softplus(-logits) * positive).sum() / max(num_pos, 1)
        keep = num_neg
        if self.training:
            keep = min(max(self.num_hard * num_pos, self.min_hard), num_neg)
        hardest = logits.masked_fill(~negative, -torch.inf).topk(keep).values
        of_neg = F.softplus(hardest).sum() / max(keep, 1)
        return self.loss_weight * (0.5 * of_pos + 0.5 * of_neg)


@MODELS.register_module()
class FocalLoss3D(BaseModule):
    """Focal loss over all anchors that are not ignored, per positive.

    The sum is divided by the usual number of positives of a batch: a running
    mean over the last steps, and over all ranks. Divided by its own number, a
    batch of background would weigh many times as much as one with nodules.

    Args:
        alpha: Weight of positives; negatives have 1 - alpha.
        gamma: Exponent that down-weights easy examples.
        loss_weight: Factor.
        momentum: Momentum of the running mean, per training step.

    Source: Lin et al. 2017, equation 5; alpha .75 as in CPM-Net; the running
        mean as in Detectron2's RetinaNet (Wu et al. 2019), which starts at a
        guess of 100, while this one is unbiased from the first step.
    """

    positives: Tensor  # (2,) running sum of positives and of their weights

    def __init__(
        self,
        alpha: float = 0.75,
        gamma: float = 2.0,
        loss_weight: float = 4.0,
        *,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.momentum = momentum
        self.register_buffer('positives', torch.zeros(2))

    def forward(
        self, logits: Tensor, positive: Tensor, negative: Tensor
    ) -> Tensor:
        """Loss of flat (N,) logits and their roles over the whole batch."""
        wrong = torch.where(positive, -logits, logits)
        weight = self.alpha * positive + (1 - self.alpha) * negative
        loss = weight * wrong.sigmoid() ** self.gamma * F.softplus(wrong)
        return self.loss_weight * loss.sum() / self.usual_positives(positive)

    @torch.no_grad()
    def usual_positives(self, positive: Tensor) -> Tensor:
        """The running mean of positives in a batch of one rank, at least 1.

        In validation, which takes one window at a time and only those with
        nodules, it is the number of this one's.

        Args:
            positive: (N,) of this batch.
        """
        count = positive.sum().to(self.positives)
        if not self.training:
            return count.clamp(min=1)
        all_reduce(count, 'mean')
        latest = torch.stack([count, torch.ones_like(count)])
        self.positives.lerp_(latest, 1 - self.momentum)
        total, weight = self.positives
        return (total / weight.clamp(min=1e-6)).clamp(min=1)


@MODELS.register_module()
class SmoothL1BoxLoss(BaseModule):
    """Smooth L1: the mean over boxes, summed over the six coordinates.

    Args:
        beta: Difference at which the square becomes a straight line.
        loss_weight: Factor.

    Source: NoduleNet, box regression loss.
    """

    def __init__(self, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(self, deltas: Tensor, targets: Tensor) -> Tensor:
        """Loss of (P, 6) deltas; 0 without rows."""
        if len(deltas) == 0:
            return deltas.sum() * 0
        loss = F.smooth_l1_loss(
            deltas, targets, reduction='none', beta=self.beta
        )
        return self.loss_weight * loss.mean(0).sum()


@MODELS.register_module()
class BalancedCrossEntropy(BaseModule):
    """Cross entropy with every class weighted by 1 / count.

    If every class is present, this is the mean of the class-wise means.

    Args:
        loss_weight: Factor.

    Source: NoduleNet, RCNN classification loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of (R, C) logits with (R,) labels; 0 without rows."""
        if len(logits) == 0:
            return logits.sum() * 0
        classes = torch.arange(logits.shape[1], device=labels.device)
        counts = (labels[:, None] == classes).sum(0)
        weight = len(labels) / counts.clamp(min=1).to(logits.dtype)
        loss = F.cross_entropy(logits, labels, weight=weight / weight.sum())
        return self.loss_weight * loss
