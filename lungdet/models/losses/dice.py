"""Overlap loss of segmentations."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor

from lungdet.registry import MODELS

EPSILON = 1e-5  # of the published loss; keeps empty pairs finite


@MODELS.register_module()
class SoftDiceLoss(BaseModule):
    """One minus soft Dice, in Tversky form, alpha = beta = 0.5.

    It is summed over boxes, as published: a crop with more of them weighs
    more.

    Args:
        loss_weight: Factor.

    Source: NoduleNet, segmentation loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: list[Tensor], targets: list[Tensor]) -> Tensor:
        """Loss of at least one box.

        Args:
            logits: Before the sigmoid; one (d, h, w) per box.
            targets: Masks of the same shapes, 1 in the nodule and 0 elsewhere.
                A box without a 1 has nothing to segment and gives 0.
        """
        losses = torch.stack(
            [_soft_dice(logit, goal) for logit, goal in zip(logits, targets)]
        )
        return self.loss_weight * losses.sum()


def _soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Loss of one box (d, h, w), a scalar."""
    target = target.to(logits.dtype)
    # a factor instead of a branch, to avoid a device synchronisation
    is_present = (target == 1).any()
    prob = logits.sigmoid()
    true_positive = (prob * target).sum()
    false_positive = (prob * (1 - target)).sum()
    false_negative = ((1 - prob) * target).sum()
    total = (
        true_positive + 0.5 * false_positive + 0.5 * false_negative + EPSILON
    )
    return (1 - true_positive / total) * is_present
