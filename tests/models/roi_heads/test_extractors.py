from __future__ import annotations

import pytest
import torch

from lungdet.models import RCNN3DHead, RoIAlign3D, RoICrop3D
from lungdet.ops import roi_align


def test_align_reads_between_the_voxels_and_crop_half_a_voxel_low() -> None:
    """Published: positions of voxel centres are taken for slice edges."""
    depth = torch.arange(6.0)[:, None, None].expand(1, 1, 6, 6, 6)
    # a nodule at [4, 12): cells 1 and 2 whole, centre between them
    roi = torch.tensor([[0.0, 4, 4, 4, 12, 12, 12]])

    aligned = RoIAlign3D(output_size=1)(depth, roi)
    cropped = RoICrop3D(output_size=3)(depth, roi)

    assert aligned.item() == pytest.approx(1.5)
    # index extent 3.5 to 11.5 touches cell 0 as well
    assert cropped[0, 0, :, 0, 0].tolist() == [0, 1, 2]


def test_align_is_an_extractor_of_the_second_stage() -> None:
    head = RCNN3DHead(
        in_channels=2,
        fc_channels=(8, 4),
        extractor={'type': 'RoIAlign3D', 'output_size': 3, 'stride': 2},
    )
    torch.manual_seed(0)
    feature = torch.randn(2, 2, 6, 7, 8, requires_grad=True)
    rois = torch.tensor([[1.0, 2, 2, 2, 9, 9, 9], [0, 0, 1, 2, 7, 8, 9]])

    pooled = head.extractor(feature, rois)
    logits, _ = head(pooled)
    logits.sum().backward()

    wanted = roi_align(feature, rois, output_size=3, stride=2)
    assert torch.equal(pooled, wanted)
    assert logits.shape == (2, 2)
    assert (feature.grad[0] != 0).any() and (feature.grad[1] != 0).any()
