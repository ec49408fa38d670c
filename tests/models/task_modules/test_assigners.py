from __future__ import annotations

import torch

from lungdet.models import AnchorGenerator3D, MaxIoUAssigner3D


def test_forced_match_needs_overlap() -> None:
    anchors = AnchorGenerator3D().grid_anchors((4, 4, 6))
    far = torch.tensor([[500.0, 500, 500, 510, 510, 510]])

    repaired = MaxIoUAssigner3D().assign(anchors, far)
    published = MaxIoUAssigner3D(force_without_overlap=True).assign(
        anchors, far
    )

    assert not repaired.positive.any()
    assert repaired.negative.all()
    assert published.positive.all()


def test_ignored_region_is_no_negative_and_never_beats_a_positive() -> None:
    anchors = AnchorGenerator3D().grid_anchors((8, 8, 8))
    gt = torch.tensor([[8.0, 8, 8, 20, 20, 20]])
    region = torch.tensor([[0.0, 0, 0, 16, 16, 16]])

    plain = MaxIoUAssigner3D().assign(anchors, gt)
    found = MaxIoUAssigner3D().assign(anchors, gt, region)

    centers = (anchors[:, :3] + anchors[:, 3:]) / 2
    inside = (centers < 16).all(1)
    assert torch.equal(found.positive, plain.positive)
    assert not (found.negative & inside).any()
    assert torch.equal(found.negative[~inside], plain.negative[~inside])
