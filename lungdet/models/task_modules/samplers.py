"""Which assigned boxes enter the loss. Draws use torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor

from lungdet.models.task_modules.assigners import Assignment
from lungdet.registry import TASK_UTILS


def draw(mask: Tensor, num: int) -> Tensor:
    """Keep ``num`` true entries of a mask, drawn without replacement."""
    inds = torch.nonzero(mask).flatten()
    if len(inds) <= num:
        return mask
    kept = inds[torch.randperm(len(inds), device=mask.device)[:num]]
    return torch.zeros_like(mask).index_fill_(0, kept, True)


@TASK_UTILS.register_module()
class AnchorSampler3D:
    """Thin out the anchors of one crop.

    Args:
        pos_per: ``'all'`` keeps every positive, ``'gt'`` draws one for each
            nodule, ``'crop'`` one for the whole crop (as published).
        num_neg: Negatives drawn in training; None keeps all. Validation
            keeps all.

    Raises:
        ValueError: Unknown ``pos_per``.
    """

    def __init__(
        self, pos_per: str = 'all', num_neg: int | None = 800
    ) -> None:
        if pos_per not in ('all', 'gt', 'crop'):
            raise ValueError(
                f"AnchorSampler3D.pos_per: {pos_per!r}; choose 'all', 'gt' "
                "or 'crop'."
            )
        self.pos_per = pos_per
        self.num_neg = num_neg

    def sample(self, assigned: Assignment, training: bool) -> Assignment:
        """The anchors that enter the loss; the others become ignored."""
        positive, negative, gt_inds = assigned
        if self.pos_per == 'crop':
            positive = draw(positive, 1)
        elif self.pos_per == 'gt':
            kept = torch.zeros_like(positive)
            for j in gt_inds[positive].unique():
                kept |= draw(positive & (gt_inds == j), 1)
            positive = kept
        if training and self.num_neg is not None:
            negative = draw(negative, self.num_neg)
        return Assignment(positive, negative, gt_inds)


@TASK_UTILS.register_module()
class RoISampler3D:
    """Draw the proposals of one crop for the second stage.

    Args:
        num: Rows wanted.
        pos_fraction: Share of positives, at most.
        fill: Fill up to ``num`` with negatives, drawn with replacement where
            they are too few (as published).
    """

    def __init__(
        self, num: int = 64, pos_fraction: float = 0.5, *, fill: bool = True
    ) -> None:
        self.num = num
        self.pos_fraction = pos_fraction
        self.fill = fill

    def sample(self, assigned: Assignment) -> tuple[Tensor, int]:
        """Row indices, positives first, and how many are positive."""
        pos = torch.nonzero(assigned.positive).flatten()
        neg = torch.nonzero(assigned.negative).flatten()
        pos = pos[torch.randperm(len(pos), device=pos.device)]
        pos = pos[: round(self.num * self.pos_fraction)]
        if not len(pos):
            wanted = min(self.num, len(neg))
        elif not len(neg):
            wanted = 0
        else:
            wanted = self.num - len(pos)
        if wanted > len(neg) and self.fill:
            rows = torch.randint(len(neg), (wanted,), device=neg.device)
        else:
            rows = torch.randperm(len(neg), device=neg.device)[:wanted]
        return torch.cat([pos, neg[rows]]), len(pos)
