from __future__ import annotations

import torch

from lungdet.models import (
    AnchorGenerator3D,
    MaxIoUAssigner3D,
    PublishedAssigner3D,
)


def test_forced_match_needs_overlap() -> None:
    """Published: every anchor is then a nodule's best, and positive."""
    anchors = AnchorGenerator3D().grid_anchors((4, 4, 6))
    far = torch.tensor([[500.0, 500, 500, 510, 510, 510]])

    repaired = MaxIoUAssigner3D().assign(anchors, far)
    published = PublishedAssigner3D().assign(anchors, far)

    assert not repaired.positive.any()
    assert repaired.negative.all()
    assert published.positive.all()


def test_ignored_region_is_no_negative_and_never_beats_a_positive() -> None:
    anchors = AnchorGenerator3D().grid_anchors((8, 8, 8))
    gt = torch.tensor([[8.0, 8, 8, 20, 20, 20]])
    region = torch.tensor([[0.0, 0, 0, 16, 16, 16]])

    plain = MaxIoUAssigner3D().assign(anchors, gt)
    spared = MaxIoUAssigner3D().assign(anchors, gt, region)

    centers = (anchors[:, :3] + anchors[:, 3:]) / 2
    inside = (centers < 16).all(1)
    assert torch.equal(spared.positive, plain.positive)
    assert not (spared.negative & inside).any()
    assert torch.equal(spared.negative[~inside], plain.negative[~inside])
