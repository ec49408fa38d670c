"""Which assigned boxes enter the loss.

Random numbers come from torch's global generator.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lungdet.models.task_modules.assigners import AssignResult
from lungdet.registry import TASK_UTILS


class SamplingResult(NamedTuple):
    """Proposals of one image used in the RoI head's loss.

    Attributes:
        priors: (R, 6) boxes, the positive ones first.
        pos_gt_inds: (P,) long, the nodule of each positive.
    """

    priors: Tensor
    pos_gt_inds: Tensor

    @property
    def pos_priors(self) -> Tensor:
        """(P, 6)."""
        return self.priors[: len(self.pos_gt_inds)]


def random_subset(mask: Tensor, num: int) -> Tensor:
    """At most ``num`` true entries of a mask, without replacement.

    All entries are shuffled and the first true ones taken, so the host need
    not know how many there are.

    Args:
        mask: (N,) bool; not changed.
        num: Largest number of entries that stay true.
    """
    turn = torch.randperm(len(mask), device=mask.device)
    turn = turn.masked_fill(~mask, len(mask))
    kept = turn.topk(min(num, len(mask)), largest=False).indices
    return torch.zeros_like(mask).index_fill_(0, kept, True) & mask


@TASK_UTILS.register_module()
class AnchorSampler3D:
    """Subsample the anchors of one crop.

    Args:
        pos_per_gt: Largest number of positives per nodule; None keeps all.
        num_neg: Largest number of negatives in training; None keeps all.
            Validation keeps all.
    """

    def __init__(
        self, pos_per_gt: int | None = None, num_neg: int | None = 800
    ) -> None:
        self.pos_per_gt = pos_per_gt
        self.num_neg = num_neg

    def sample(self, assigned: AssignResult, training: bool) -> AssignResult:
        """The anchors used in the loss; the others become ignored."""
        positive = self.sample_pos(assigned)
        negative = assigned.negative
        if training and self.num_neg is not None:
            negative = random_subset(negative, self.num_neg)
        return AssignResult(positive, negative, assigned.gt_inds)

    def sample_pos(self, assigned: AssignResult) -> Tensor:
        """Positives (N,) bool used in the loss."""
        positive, _, gt_inds = assigned
        if self.pos_per_gt is None:
            return positive
        # in random order, sorted by nodule: the first few of each are taken
        none = torch.iinfo(gt_inds.dtype).max
        shuffled = torch.randperm(len(positive), device=positive.device)
        nodule = gt_inds.masked_fill(~positive, none)[shuffled]
        nodule, order = nodule.sort(stable=True)
        first = torch.searchsorted(nodule, nodule)
        number = torch.arange(len(nodule), device=nodule.device) - first
        taken = (number < self.pos_per_gt) & (nodule < none)
        return torch.zeros_like(positive).scatter(0, shuffled[order], taken)


@TASK_UTILS.register_module()
class RoISampler3D:
    """Choose the proposals of one crop for the RoI head.

    In training the true boxes join the proposals. Validation takes all
    positives and negatives.

    Args:
        num: Number of boxes.
        pos_fraction: Largest fraction of positives.
        fill: Fill up to ``num`` with negatives, with replacement where they
            are too few (as published).
    """

    def __init__(
        self, num: int = 64, pos_fraction: float = 0.5, *, fill: bool = True
    ) -> None:
        self.num = num
        self.pos_fraction = pos_fraction
        self.fill = fill

    def sample(
        self,
        assigned: AssignResult,
        proposals: Tensor,
        gt_boxes: Tensor,
        training: bool,
    ) -> SamplingResult:
        """Choose among proposals (N, 6) and, in training, (M, 6) true boxes.

        Args:
            assigned: Assignment of the proposals.
            proposals: (N, 6).
            gt_boxes: (M, 6), M may be 0.
            training: Whether the true boxes join, as positives.
        """
        pos = torch.nonzero(assigned.positive).flatten()
        neg = torch.nonzero(assigned.negative).flatten()
        gt_inds = assigned.gt_inds
        if training:
            joined = torch.arange(len(gt_boxes), device=pos.device)
            pos = torch.cat([pos, len(proposals) + joined])
            gt_inds = torch.cat([gt_inds, joined])
            proposals = torch.cat([proposals, gt_boxes.to(proposals.dtype)])
        else:
            return SamplingResult(
                proposals[torch.cat([pos, neg])], gt_inds[pos]
            )
        pos = pos[torch.randperm(len(pos), device=pos.device)]
        pos = pos[: round(self.num * self.pos_fraction)]
        neg = self.sample_neg(neg, len(pos))
        return SamplingResult(proposals[torch.cat([pos, neg])], gt_inds[pos])

    def sample_neg(self, neg: Tensor, num_pos: int) -> Tensor:
        """Indices of the negatives for ``num_pos`` positives."""
        if not num_pos:
            wanted = min(self.num, len(neg))
        elif not len(neg):
            wanted = 0
        else:
            wanted = self.num - num_pos
        if wanted > len(neg) and self.fill:
            return neg[torch.randint(len(neg), (wanted,), device=neg.device)]
        return neg[torch.randperm(len(neg), device=neg.device)[:wanted]]
