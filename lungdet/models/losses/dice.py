"""Overlap loss of segmentations."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-5  # of the published loss; keeps an empty pair finite


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus soft Dice of one box, in Tversky form, alpha = beta = 0.5.

    Args:
        logits: Before the sigmoid, any shape.
        target: The same shape; a mask of 0 and 1.

    Source: NoduleNet, segmentation loss.
    """
    prob = logits.sigmoid()
    hit = (prob * target).sum()
    spill = (prob * (1 - target)).sum()
    miss = ((1 - prob) * target).sum()
    return 1 - hit / (hit + 0.5 * spill + 0.5 * miss + EPSILON)
