from __future__ import annotations

import pytest
import torch
from torch import nn

from lungdet.models import Mask3DHead, PublishedMask3DHead
from tests.models.nets import feature_maps
from tests.oracles.reference import mask_labels, mask_logits, vectors
from tests.pretend_cuda import PretendCuda


def loss_of(head: Mask3DHead, labels: torch.Tensor, number: int) -> float:
    """Loss of the vector's logits in one box."""
    logits = mask_logits()
    boxes = torch.tensor([[0, 0, 0, 0, *logits.shape]])
    targets = head.get_targets(boxes, [labels], torch.tensor([number]))
    return float(head.loss([logits], targets)['loss_mask'])


def test_second_nodule_of_a_crop_is_trained_too() -> None:
    """Published: only boxes that hold component number 1 teach anything."""
    stored, labels = vectors()['mask_loss'], mask_labels(2)

    repaired = loss_of(Mask3DHead(), labels, 2)
    published = loss_of(PublishedMask3DHead(), labels, 2)

    assert repaired == pytest.approx(stored['loss_binary'], rel=1e-9)
    assert published == stored['loss_label2'] == 0


def test_a_neighbour_in_the_box_leaves_the_loss_alone() -> None:
    """Published: its number 2 is taken for a probability."""
    stored, labels = vectors()['mask_loss'], mask_labels(1)
    labels[3, 3, 7] = 2

    repaired = loss_of(Mask3DHead(), labels, 1)
    published = loss_of(PublishedMask3DHead(), labels, 1)

    assert repaired == pytest.approx(stored['loss_binary'], rel=1e-9)
    assert published == pytest.approx(stored['loss_label1_and_2'], rel=1e-9)


def test_a_box_without_its_nodule_teaches_nothing() -> None:
    shape = (4, 4, 8)
    logits = torch.randn(shape, requires_grad=True)
    boxes = torch.tensor([[0, 0, 0, 0, *shape]])
    head = Mask3DHead()

    targets = head.get_targets(boxes, [mask_labels(1)], torch.tensor([2]))
    loss = head.loss([logits], targets)['loss_mask']
    loss.backward()

    assert float(loss.detach()) == 0
    assert (logits.grad == 0).all()


def test_boxes_that_do_not_fit_at_once_run_in_parts() -> None:
    feats = feature_maps(1, (4, 2, 6), (32, 32, 32))
    corners = torch.arange(0, 20, 4)[:, None].repeat(1, 3)
    boxes = torch.cat([corners[:, :1] * 0, corners, corners + 12], dim=1)
    sizes: list[int] = []
    logits = []
    for max_voxels in (64**3, 2 * 12**3):
        torch.manual_seed(0)
        head = Mask3DHead(6, 4, channels=5, max_voxels=max_voxels).eval()
        head.up2.register_forward_pre_hook(
            lambda _, x: sizes.append(len(x[0]))
        )
        logits.append(head(feats, boxes))

    assert sizes == [5, 2, 2, 1]
    for one, other in zip(*logits, strict=True):
        torch.testing.assert_close(one, other)


def test_loss_asks_the_device_as_often_for_two_boxes_as_for_twenty() -> None:
    counts = []
    head = Mask3DHead()
    for num in (2, 20):
        with PretendCuda() as gpu:
            boxes = torch.zeros(num, 7, dtype=torch.long, device='cuda')
            boxes[:, 4:6], boxes[:, 6] = 4, 8
            logits = [torch.zeros(4, 4, 8, device='cuda') for _ in range(num)]
            ids = torch.ones(num, dtype=torch.long, device='cuda')
            labels = mask_labels(1).to('cuda', non_blocking=True)
            head.loss(logits, head.get_targets(boxes, [labels], ids))
        counts.append(len(gpu.waits))

    assert counts[0] == counts[1] > 0


def test_boxes_that_truncation_empties_are_left_out() -> None:
    rois = torch.tensor(
        [[0.0, 8.7, 8.7, 8.7, 9.4, 9.4, 9.4], [0, 10.5, 8, 8, 13.4, 12, 12]]
    )

    whole, all_of_them = Mask3DHead().mask_boxes(rois, (32, 32, 32))
    cut, is_full = PublishedMask3DHead().mask_boxes(rois, (32, 32, 32))

    assert whole[:, 1:].tolist() == [
        [8, 8, 8, 12, 12, 12],
        [8, 8, 8, 16, 12, 12],
    ]
    assert all_of_them.tolist() == [True, True]
    # the end at index 12.9 becomes 12, and the first box vanishes
    assert cut[:, 1:].tolist() == [[8, 4, 4, 12, 12, 12]]
    assert is_full.tolist() == [False, True]


def test_norm_and_activation_come_from_the_config() -> None:
    head = Mask3DHead(
        6,
        4,
        channels=4,
        norm_cfg={'type': 'GN', 'num_groups': 2},
        act_cfg={'type': 'LeakyReLU'},
    )

    kinds = [type(layer) for layer in head.back2]

    assert kinds == [nn.Conv3d, nn.GroupNorm, nn.LeakyReLU]
    assert not any(isinstance(m, nn.InstanceNorm3d) for m in head.modules())
    (logits,) = head(
        feature_maps(1, (4, 2, 6)), torch.tensor([[0, 4, 8, 0, 12, 16, 16]])
    )
    assert logits.shape == (8, 8, 16)
