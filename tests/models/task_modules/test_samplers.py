from __future__ import annotations

import random

import numpy as np
import torch

from lungdet.models import (
    AnchorGenerator3D,
    AnchorSampler3D,
    PublishedAnchorSampler3D,
    PublishedRoISampler3D,
    RoISampler3D,
)
from lungdet.models.task_modules import AssignResult, MaxIoUAssigner3D

GT = torch.tensor([[4.0, 4, 4, 16, 16, 16], [18, 18, 18, 30, 30, 30]])
NONE = torch.zeros(0, 6)


def two_nodules() -> tuple[torch.Tensor, AssignResult]:
    anchors = AnchorGenerator3D().grid_anchors((8, 8, 8))
    return anchors, MaxIoUAssigner3D().assign(anchors, GT)


def test_positives_of_a_nodule_are_as_many_as_wanted() -> None:
    """Published: one for the whole crop."""
    _, assigned = two_nodules()

    def count(sampler: AnchorSampler3D) -> list[int]:
        positive = sampler.sample(assigned, True).positive
        assert not (positive & ~assigned.positive).any()
        return torch.bincount(assigned.gt_inds[positive]).tolist()

    every = torch.bincount(assigned.gt_inds[assigned.positive]).tolist()
    assert every[0] == 1 and every[1] > 2
    assert count(AnchorSampler3D(pos_per_gt=1)) == [1, 1]
    assert count(AnchorSampler3D(pos_per_gt=2)) == [1, 2]
    assert count(AnchorSampler3D()) == every
    assert sum(count(PublishedAnchorSampler3D())) == 1


def test_validation_keeps_every_negative() -> None:
    _, assigned = two_nodules()
    sampler = AnchorSampler3D(num_neg=7)

    assert int(sampler.sample(assigned, True).negative.sum()) == 7
    kept = sampler.sample(assigned, False).negative
    assert torch.equal(kept, assigned.negative)


def test_one_generator_decides_every_choice() -> None:
    """Published: Python's for positives and numpy's for background."""
    anchors, assigned = two_nodules()
    chosen = []
    for seed, other in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(seed)
        random.seed(other)
        np.random.seed(other)  # noqa: NPY002
        kept = PublishedAnchorSampler3D().sample(assigned, True)
        rois = RoISampler3D(num=8).sample(assigned, anchors, GT, False)
        chosen.append(
            [
                *torch.nonzero(kept.positive | kept.negative).flatten(),
                *rois.priors.flatten(),
            ]
        )

    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_true_boxes_join_the_proposals_in_training_only() -> None:
    """Published: in validation too."""
    assigned = MaxIoUAssigner3D().assign(NONE, GT)

    priors = {
        (sampler, training): sampler()
        .sample(assigned, NONE, GT, training)
        .priors.sort(0)
        .values.tolist()
        for sampler in (RoISampler3D, PublishedRoISampler3D)
        for training in (True, False)
    }

    assert priors[(RoISampler3D, True)] == GT.tolist()
    assert priors[(RoISampler3D, False)] == []
    assert priors[(PublishedRoISampler3D, True)] == GT.tolist()
    assert priors[(PublishedRoISampler3D, False)] == GT.tolist()


def test_validation_takes_every_proposal_in_no_random_order() -> None:
    proposals = torch.cat([GT + 0.5, GT + 100, GT + 200])
    assigned = MaxIoUAssigner3D(force_match=False).assign(proposals, GT)

    result = RoISampler3D(num=2).sample(assigned, proposals, GT, False)

    assert torch.equal(result.priors, proposals)
    assert result.pos_gt_inds.tolist() == [0, 1]


def test_positives_come_first_and_know_their_nodule() -> None:
    far = GT[:1] + 100
    proposals = torch.cat([far, GT[1:] + 0.5])
    assigned = MaxIoUAssigner3D(force_match=False).assign(proposals, GT)

    result = RoISampler3D(num=8).sample(assigned, proposals, GT, True)

    # both true boxes and the shifted one of the second nodule
    assert sorted(result.pos_gt_inds.tolist()) == [0, 1, 1]
    gaps = (result.pos_priors - GT[result.pos_gt_inds]).abs().amax(1)
    assert sorted(gaps.tolist()) == [0, 0, 0.5]
    assert torch.equal(result.priors[3:], far.expand(5, 6))
