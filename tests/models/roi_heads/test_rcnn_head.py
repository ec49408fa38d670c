from __future__ import annotations

import torch

from lungdet.data_sample import InstanceData
from lungdet.models import RCNN3DHead

GT = torch.tensor([[10.0, 10, 10, 20, 20, 20]])
NONE = torch.zeros(0, 6)


def test_true_boxes_join_the_proposals_in_training_only() -> None:
    """Published: in validation too."""
    none = InstanceData(bboxes=NONE)

    rows = {
        (add, mode): RCNN3DHead(add_gt=add)
        .train(mode == 'train')
        .sample([none], [GT], [NONE])
        .rois[:, 1:]
        .tolist()
        for add in ('training', 'always')
        for mode in ('train', 'validate')
    }

    assert rows[('training', 'train')] == GT.tolist()
    assert rows[('training', 'validate')] == []
    assert rows[('always', 'validate')] == GT.tolist()


def test_full_and_empty_crops_share_a_batch() -> None:
    """Published: rows of different rank cannot be stacked."""
    far = InstanceData(bboxes=GT + 100)
    none = InstanceData(bboxes=NONE)
    head = RCNN3DHead().train()

    for found in (far, none):
        batch = head.sample([found, found], [GT, NONE], [NONE, NONE])

        positive = batch.labels > 0
        assert batch.rois[positive].tolist() == [[0, *GT[0].tolist()]]
        assert batch.targets.tolist() == [[0] * 6]
        second = batch.rois[batch.rois[:, 0] == 1, 1:]
        assert torch.equal(second, found.bboxes)


def test_detections_of_two_images_do_not_compete() -> None:
    """Published: numbers within an image are taken for those of the batch."""
    rois = torch.cat([torch.arange(2.0)[:, None], GT.repeat(2, 1)], dim=1)
    logits = torch.tensor([[0.0, 1.0], [0.0, 2.0]])

    found = RCNN3DHead().detections(
        rois,
        logits,
        torch.zeros(2, 12),
        img_shape=(32, 32, 32),
        cfg={'score_thr': 0.5, 'nms_thr': 0.1},
    )

    assert torch.equal(found, rois)


def test_a_score_of_zero_keeps_its_place() -> None:
    """Published: the row is lost from one of two lists."""
    logits = torch.tensor([[105.0, 0.0], [0.0, 0.0]])

    boxes, scores = RCNN3DHead().refine(
        GT.repeat(2, 1), logits, torch.zeros(2, 12), (32, 32, 32)
    )

    assert scores.tolist() == [0, 0.5]
    assert torch.equal(boxes, GT.repeat(2, 1))
