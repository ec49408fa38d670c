from __future__ import annotations

import pytest
import torch

from lungdet.data_sample import InstanceData
from lungdet.models import NoduleRoIHead, PublishedRoIHead
from lungdet.models.views import View, flip_boxes
from tests.models.nets import NODULE, SHAPE, feature_maps, sample_of

GT = torch.tensor([[10.0, 10, 10, 20, 20, 20]])
NONE = torch.zeros(0, 6)


def roi_head(
    kind: type[NoduleRoIHead] = NoduleRoIHead, **changes: object
) -> NoduleRoIHead:
    """All heads on four channels."""
    torch.manual_seed(0)
    return kind(
        bbox_head={
            'type': 'BBox3DHead',
            'in_channels': 4,
            'fc_channels': (8, 4),
        },
        mask_head={
            'type': 'Mask3DHead',
            'in_channels': 4,
            'skip_channels': 4,
            'channels': 4,
        },
        **changes,
    )


def test_full_and_empty_crops_share_a_batch() -> None:
    """Published: rows of different rank cannot be stacked."""
    far = InstanceData(bboxes=GT + 100)
    none = InstanceData(bboxes=NONE)
    samples = [sample_of(GT.tolist()), sample_of([])]
    head = roi_head().train()

    for proposals in (far, none):
        sampled = head.sample_proposals([proposals, proposals], samples)
        labels, targets = head.bbox_head.get_targets(sampled, [GT, NONE])

        assert torch.equal(sampled[0].pos_priors, GT)
        assert torch.equal(sampled[1].priors, proposals.bboxes)
        num = len(labels) - len(proposals)
        assert labels.tolist() == [1] + [0] * (num - 1) + [0] * len(proposals)
        assert targets.tolist() == [[0] * 6]


@pytest.mark.parametrize('most', [1, 3, None])
def test_mask_head_takes_so_many_boxes_of_a_crop(most: int | None) -> None:
    head = roi_head(train_cfg={'mask': {'max_pos': most}})
    roi = torch.tensor([[0.0, *NODULE]])
    rois = torch.cat([roi.repeat(5, 1), roi + torch.tensor([1.0] + [0] * 6)])
    segmented: list[int] = []
    head.mask_head.register_forward_pre_hook(
        lambda _, args: segmented.extend(args[1][:, 0].tolist())
    )

    head.mask_loss(feature_maps(2, (4, 4, 4)), rois, [sample_of([NODULE])] * 2)

    assert segmented == [0] * (most or 5) + [1]


def test_a_grown_roi_is_of_the_nodule_that_it_was_grown_from() -> None:
    """Not of the larger one a voxel beside it, which fills more of it."""
    head = roi_head(border=8)
    small, large = [14, 14, 8, 18, 18, 12], [6, 6, 13, 26, 26, 33]  # z, y, x
    sample = sample_of([small, large])
    rois = torch.cat(
        [
            torch.zeros(2, 1),
            head.grow(torch.tensor([small, large], dtype=torch.float32)),
        ],
        1,
    )
    numbers: list[int] = []
    targets = head.mask_head.get_targets

    def watched(boxes: torch.Tensor, masks: list, ids: torch.Tensor) -> list:
        numbers.extend(ids.tolist())
        return targets(boxes, masks, ids)

    head.mask_head.get_targets = watched
    head.mask_loss(feature_maps(1, (4, 4, 4)), rois, [sample])

    assert numbers == sample.gt_instances.ids.tolist()


def test_rois_beside_every_nodule_are_not_segmented() -> None:
    head = roi_head()
    rois = torch.tensor([[0.0, *NODULE], [0, 20, 20, 20, 30, 30, 30]])
    segmented: list[list] = []
    head.mask_head.register_forward_pre_hook(
        lambda _, args: segmented.extend(args[1].tolist())
    )

    head.mask_loss(feature_maps(1, (4, 4, 4)), rois, [sample_of([NODULE])])

    assert segmented == [[0, 8, 8, 8, 20, 20, 20]]


def test_training_without_any_detection_still_reaches_the_mask_head() -> None:
    """Published: no mask targets, an AttributeError."""
    head = roi_head(PublishedRoIHead).train()
    torch.nn.init.constant_(head.bbox_head.logit.bias[:1], 50)  # background
    proposals = [InstanceData(bboxes=NONE)]

    losses = head.loss(
        feature_maps(1, (4, 4, 4)), proposals, [sample_of([NODULE])]
    )
    losses['loss_mask'].backward()

    assert float(losses['loss_mask'].detach()) == 0
    for name, parameter in head.mask_head.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_detections_of_two_images_do_not_compete() -> None:
    """Published: numbers within an image are taken for those of the batch."""
    rois = torch.cat([torch.arange(2.0)[:, None], GT.repeat(2, 1)], dim=1)
    logits = torch.tensor([[0.0, 1.0], [0.0, 2.0]])

    detections = roi_head(PublishedRoIHead).detections(
        rois,
        logits,
        torch.zeros(2, 12),
        img_shape=(32, 32, 32),
        score_thr=0.5,
    )

    assert torch.equal(detections, rois)


def test_masks_of_a_batch_are_those_of_each_image() -> None:
    head = roi_head(test_cfg={'mask': {'score_thr': 0.5}}).eval()
    feats = feature_maps(2, (4, 4, 4))
    boxes = torch.tensor([[4.0, 4, 4, 12, 12, 12], [8, 12, 20, 17, 20, 31]])
    detections = [
        InstanceData(bboxes=boxes, scores=torch.tensor([0.9, 0.4])),
        InstanceData(bboxes=boxes[:1] + 4, scores=torch.tensor([0.8])),
    ]

    first, second = head.predict_mask([View(feats)], detections)

    assert first.mask_boxes.tolist() == [[4, 4, 4, 12, 12, 12], [0] * 6]
    assert first.masks[0].shape == (8, 8, 8) and first.masks[1] is None
    assert second.mask_boxes.tolist() == [[8, 8, 8, 16, 16, 16]]
    assert 'masks' not in detections[0]  # what was given is left alone
    (alone,) = head.predict_mask([View(feats.of_image(1))], detections[1:])
    assert torch.equal(alone.masks[0], second.masks[0])


def test_refined_boxes_stay_with_their_image() -> None:
    head = roi_head().eval()
    feats = feature_maps(3, (4, 4, 4))
    proposals = [
        InstanceData(bboxes=GT.repeat(num, 1) + k)
        for k, num in enumerate((2, 0, 1))
    ]

    refined = head.predict_bbox([View(feats)], proposals)

    assert [len(r) for r in refined] == [2, 0, 1]
    (alone,) = head.predict_bbox([View(feats.of_image(2))], proposals[2:])
    torch.testing.assert_close(alone.bboxes, refined[2].bboxes)
    torch.testing.assert_close(alone.scores, refined[2].scores)


def test_sampled_positives_are_segmented_in_training() -> None:
    head = roi_head()
    rois = torch.cat([torch.zeros(3, 1), GT.repeat(3, 1)], dim=1)
    labels = torch.tensor([1, 0, 1])

    chosen = head.mask_rois(
        rois, labels, torch.zeros(3, 2), torch.zeros(3, 12), img_shape=SHAPE
    )

    assert torch.equal(chosen, rois[[0, 2]])


def test_border_is_around_what_the_head_sees_and_off_what_it_returns() -> None:
    head = roi_head(border=8).eval()
    torch.nn.init.zeros_(head.bbox_head.delta.weight)
    torch.nn.init.zeros_(head.bbox_head.delta.bias)
    pooled: list[torch.Tensor] = []
    head.bbox_roi_extractor.register_forward_pre_hook(
        lambda _, args: pooled.append(args[1][:, 1:])
    )
    feats = feature_maps(1, (4, 4, 4))
    boxes = torch.cat([GT, torch.tensor([[4.0, 4, 4, 7, 8, 9]])])
    around = boxes + torch.tensor([-4.0] * 3 + [4.0] * 3)

    (refined,) = head.predict_bbox([View(feats)], [InstanceData(bboxes=boxes)])

    assert torch.equal(pooled[0], around)
    torch.testing.assert_close(refined.bboxes, boxes)
    head.train()
    gt = sample_of([boxes[1].tolist()])
    head.loss(feats, [InstanceData(bboxes=boxes)], [gt])
    rows = {tuple(row) for row in pooled[1].tolist()}
    assert rows == {tuple(row) for row in around.tolist()}


def test_masks_show_the_border() -> None:
    head = roi_head(border=8, test_cfg={'mask': {'score_thr': 0.5}}).eval()
    detections = [
        InstanceData(
            bboxes=torch.tensor([[12.0, 12, 12, 16, 16, 16]]),
            scores=torch.tensor([0.9]),
        )
    ]

    (segmented,) = head.predict_mask(
        [View(feature_maps(1, (4, 4, 4)))], detections
    )

    assert segmented.mask_boxes.tolist() == [[8, 8, 8, 20, 20, 20]]
    assert torch.equal(segmented.bboxes, detections[0].bboxes)


def test_boxes_scores_and_masks_are_means_of_the_views() -> None:
    head = roi_head(border=4, test_cfg={'mask': {'score_thr': 0.0}}).eval()
    view, axes = View(feature_maps(1, (4, 4, 4))), (1, 2)
    other = View(feature_maps(1, (4, 4, 4)), axes)
    given = InstanceData(bboxes=torch.cat([GT, GT + 3]), scores=torch.ones(2))
    mirrored = InstanceData(
        bboxes=flip_boxes(given.bboxes, axes, SHAPE), scores=given.scores
    )

    (refined,) = head.predict_bbox([view, other], [given])
    (segmented,) = head.predict_mask([view, other], [given])

    (one,) = head.predict_bbox([view], [given])
    (two,) = head.predict_bbox([View(other.feats)], [mirrored])
    back = flip_boxes(two.bboxes, axes, SHAPE)
    assert not torch.allclose(one.bboxes, back)
    torch.testing.assert_close(refined.bboxes, (one.bboxes + back) / 2)
    torch.testing.assert_close(refined.scores, (one.scores + two.scores) / 2)
    for box, mask in zip(segmented.mask_boxes, segmented.masks, strict=True):
        rows = torch.stack([box, flip_boxes(box[None], axes, SHAPE)[0]])
        rois = torch.cat([torch.zeros(2, 1).long(), rows], dim=1)
        with torch.no_grad():
            (logit,) = head.mask_head(view.feats, rois[:1])
            (turned,) = head.mask_head(other.feats, rois[1:])
        assert ((logit > 0) != (turned.flip(axes) > 0)).any()
        assert torch.equal(mask, logit + turned.flip(axes) > 0)
