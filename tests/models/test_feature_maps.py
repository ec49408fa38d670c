from __future__ import annotations

import torch

from lungdet.models import FeatureNet
from lungdet.models.feature_maps import STRIDE, FeatureMaps


def test_heads_read_the_backbone_at_its_stride() -> None:
    image = torch.zeros(2, 1, 32, 48, 64)
    net = FeatureNet(
        stem_channels=2, channels=(2,) * 6, blocks=(1,) * 6
    ).eval()

    feats = FeatureMaps(image, *net(image))

    assert feats.img_shape == (32, 48, 64)
    cells = tuple(side // STRIDE for side in feats.img_shape)
    assert feats.out2.shape[2:] == feats.comb2.shape[2:] == cells


def test_maps_of_one_image_are_a_batch_of_one() -> None:
    maps = [torch.arange(3.0).view(3, 1, 1, 1, 1) + k for k in range(4)]

    one = FeatureMaps(*maps).of_image(1)

    assert [m.flatten().tolist() for m in one] == [[1], [2], [3], [4]]
