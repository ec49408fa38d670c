from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models import NoduleRoIHead, RoIAlign3D, RoICrop3D
from lungdet.ops import roi_align
from tests.models.nets import feature_maps

BBOX_HEAD = {
    'type': 'BBox3DHead',
    'in_channels': 2,
    'fc_channels': (8, 4),
    'roi_feat_size': 3,
}


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


def test_align_is_an_extractor_of_the_roi_head() -> None:
    head = NoduleRoIHead({'type': 'RoIAlign3D', 'output_size': 3}, BBOX_HEAD)
    torch.manual_seed(0)
    feats = feature_maps(2, (2, 2, 2), (24, 28, 32))
    feats.out2.requires_grad_()
    rois = torch.tensor([[1.0, 2, 2, 2, 9, 9, 9], [0, 0, 1, 2, 7, 8, 9]])

    logits, _ = head.bbox_forward(feats, rois)
    logits.sum().backward()

    pooled = roi_align(feats.out2, rois, output_size=3, stride=4)
    assert torch.equal(logits, head.bbox_head(pooled)[0])
    assert logits.shape == (2, 2)
    grad = feats.out2.grad
    assert (grad[0] != 0).any() and (grad[1] != 0).any()


def test_extractor_and_head_agree_on_the_bins() -> None:
    with pytest.raises(ConfigError, match='roi_feat_size: 3, .* is 7'):
        NoduleRoIHead({'type': 'RoICrop3D'}, BBOX_HEAD)
