from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models import Mask3DHead
from lungdet.models.roi_heads import mask_head
from tests.models.host_syncs import HostSyncs
from tests.oracles.reference import mask_labels, mask_logits, vectors


def loss_of(target: str, labels: torch.Tensor, number: int) -> float:
    """Loss of the vector's logits in one box."""
    logits = mask_logits()
    boxes = torch.tensor([[0, 0, 0, 0, *logits.shape]])
    losses = Mask3DHead(target=target).loss(
        [logits], boxes, [labels], torch.tensor([number])
    )
    return float(losses['loss_mask'])


def test_second_nodule_of_a_crop_is_trained_too() -> None:
    """Published: only boxes that hold component number 1 count."""
    stored, labels = vectors()['mask_loss'], mask_labels(2)

    repaired = loss_of('instance', labels, 2)
    published = loss_of('component', labels, 2)

    assert repaired == pytest.approx(stored['loss_binary'], rel=1e-9)
    assert published == stored['loss_label2'] == 0


def test_a_neighbour_in_the_box_leaves_the_loss_alone() -> None:
    """Published: its number 2 is taken for a probability."""
    stored, labels = vectors()['mask_loss'], mask_labels(1)
    labels[3, 3, 7] = 2

    repaired = loss_of('instance', labels, 1)
    published = loss_of('component', labels, 1)

    assert repaired == pytest.approx(stored['loss_binary'], rel=1e-9)
    assert published == pytest.approx(stored['loss_label1_and_2'], rel=1e-9)


def test_a_box_without_its_nodule_teaches_nothing() -> None:
    shape = (4, 4, 8)
    logits = torch.randn(shape, requires_grad=True)
    boxes = torch.tensor([[0, 0, 0, 0, *shape]])

    losses = Mask3DHead().loss(
        [logits], boxes, [mask_labels(1)], torch.tensor([2])
    )
    losses['loss_mask'].backward()

    assert float(losses['loss_mask'].detach()) == 0
    assert (logits.grad == 0).all()


def test_boxes_that_do_not_fit_at_once_run_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    head = Mask3DHead(in_channels=6, skip_channels=4, channels=5).eval()
    maps = [torch.randn(1, c, s, s, s) for c, s in ((1, 32), (4, 16), (6, 8))]
    corners = torch.arange(0, 20, 4)[:, None].repeat(1, 3)
    boxes = torch.cat([corners[:, :1] * 0, corners, corners + 12], dim=1)
    sizes: list[int] = []
    head.up2.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))

    whole = head(*maps, boxes)
    monkeypatch.setattr(mask_head, 'MAX_VOXELS', 2 * 12**3)
    parts = head(*maps, boxes)

    assert sizes == [5, 2, 2, 1]
    for one, other in zip(whole, parts):
        torch.testing.assert_close(one, other)


def test_loss_asks_the_device_as_often_for_two_boxes_as_for_twenty() -> None:
    counts = []
    for num in (2, 20):
        boxes = torch.tensor([[0, 0, 0, 0, 4, 4, 8]]).repeat(num, 1)
        logits = [torch.randn(4, 4, 8) for _ in range(num)]
        with HostSyncs() as syncs:
            Mask3DHead().loss(
                logits, boxes, [mask_labels(1)], torch.ones(num).long()
            )
        counts.append(syncs.count)

    assert counts[0] == counts[1] > 0


def test_boxes_that_truncation_empties_are_left_out() -> None:
    rois = torch.tensor(
        [[0.0, 8.7, 8.7, 8.7, 9.4, 9.4, 9.4], [0, 10.5, 8, 8, 13.4, 12, 12]]
    )

    whole, all_of_them = Mask3DHead().boxes(rois, (32, 32, 32))
    cut, full = Mask3DHead(boxes='truncated').boxes(rois, (32, 32, 32))

    assert whole[:, 1:].tolist() == [
        [8, 8, 8, 12, 12, 12],
        [8, 8, 8, 16, 12, 12],
    ]
    assert all_of_them.tolist() == [True, True]
    # the end at index 12.9 becomes 12, and the first box vanishes
    assert cut[:, 1:].tolist() == [[8, 4, 4, 12, 12, 12]]
    assert full.tolist() == [False, True]


def test_unknown_box_rule() -> None:
    with pytest.raises(ConfigError, match="'ceil'.*truncated.*whole"):
        Mask3DHead(boxes='ceil')
