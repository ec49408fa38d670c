"""The RoI head against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.models import (
    BalancedCrossEntropy,
    BBox3DHead,
    DetectionPostProcessor,
    Mask3DHead,
    NoduleRoIHead,
    PublishedMask3DHead,
    PublishedRoIHead,
)
from lungdet.ops import box_iou
from tests.oracles.reference import (
    edges,
    index_form,
    mask_labels,
    mask_logits,
    vectors,
)

MASK_TARGETS = {
    'loss_binary': 1,
    'loss_label2': 2,
    'loss_empty': 0,
}


def test_rcnn_loss() -> None:
    stored = vectors()['rcnn_loss']
    labels = torch.tensor(stored['labels'])
    logits = torch.tensor(stored['logits'], dtype=torch.float64)
    deltas = torch.tensor(stored['deltas'], dtype=torch.float64)
    targets = torch.tensor(stored['targets'], dtype=torch.float64)

    losses = BBox3DHead().loss(logits, deltas, labels, targets)
    all_positive = BalancedCrossEntropy()(
        logits[:2], torch.ones(2, dtype=torch.long)
    )

    assert float(losses['loss_rcnn_cls']) == pytest.approx(
        stored['cls'], rel=1e-9
    )
    assert float(losses['loss_rcnn_bbox']) == pytest.approx(
        stored['reg'], rel=1e-9
    )
    assert sum(stored['reg6']) == pytest.approx(stored['reg'], rel=1e-9)
    assert float(all_positive) == pytest.approx(
        stored['all_positive_labels_cls'], rel=1e-9
    )


def test_rcnn_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published draws replaced by "the first", as in the vectors."""
    stored = vectors()['rcnn_target']
    monkeypatch.setattr(
        torch, 'randperm', lambda n, **kwargs: torch.arange(n, **kwargs)
    )
    monkeypatch.setattr(
        torch,
        'randint',
        lambda high, size, **kwargs: torch.arange(*size, **kwargs) % high,
    )
    head = NoduleRoIHead().train()
    boxes = edges(np.array(stored['proposals'])[:, 2:])
    gt = edges(stored['gt'])
    sample = DetDataSample()
    sample.gt_instances = InstanceData(bboxes=gt)
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 6))

    sampled = head.sample_proposals([InstanceData(bboxes=boxes)], [sample])
    labels, targets = head.bbox_head.get_targets(sampled, [gt])

    (result,) = sampled
    with_gt = torch.cat([boxes, gt])
    assert len(with_gt) == stored['with_gt_rows']
    np.testing.assert_allclose(box_iou(with_gt, gt), stored['iou'], rtol=1e-9)
    assert len(result.priors) == stored['n_sampled']
    assert labels.tolist() == stored['labels']
    first = np.array(stored['first_rows'])
    np.testing.assert_allclose(
        index_form(result.priors[: len(first)]), first[:, 2:], atol=1e-9
    )
    np.testing.assert_allclose(
        targets, stored['targets'], rtol=1e-6, atol=1e-6
    )
    gt_inds = [-1] * len(labels)
    gt_inds[: len(result.pos_gt_inds)] = result.pos_gt_inds.tolist()
    assert gt_inds == stored['assign']


def rcnn_output() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes, logits and deltas of both classes."""
    stored = vectors()['rcnn_nms']
    boxes = edges(np.array(stored['proposals'])[:, 2:])
    deltas = torch.zeros(len(boxes), 12).double()
    deltas[:, 6:] = torch.tensor(stored['deltas_class1'])
    return boxes, torch.tensor(stored['logits']).double(), deltas


@pytest.mark.parametrize(('mode', 'thr'), [('train', 0.5), ('eval', 0.0)])
def test_rcnn_detections(mode: str, thr: float) -> None:
    stored = vectors()['rcnn_nms']
    boxes, logits, deltas = rcnn_output()
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    head = PublishedRoIHead(
        bbox_head={
            'type': 'BBox3DHead',
            'bbox_coder': {'type': 'DeltaBoxCoder3D', 'max_dlog': None},
        }
    )
    shape = tuple(stored['img'])

    detections = head.detections(
        rois, logits, deltas, img_shape=shape, score_thr=thr
    )
    refined, scores = head.bbox_head.predict(boxes, logits, deltas, shape)

    wanted = np.array(stored[mode]['detections'])
    keep = stored[mode]['keep']
    np.testing.assert_allclose(
        index_form(detections[:, 1:]), wanted[:, 2:8], atol=1e-5
    )
    assert torch.equal(detections[:, 1:], refined[keep])
    np.testing.assert_allclose(scores[keep], wanted[:, 1], rtol=1e-6)


def test_fused_scores() -> None:
    """Proposals keep box and order and get the mean of both scores."""
    stored = vectors()['rcnn_nms']
    boxes, logits, deltas = rcnn_output()
    rpn_scores = torch.tensor(stored['proposals']).double()[:, 1]
    refined, rcnn_scores = BBox3DHead().predict(
        boxes, logits, deltas, tuple(stored['img'])
    )

    fused = DetectionPostProcessor(box_source='rpn').fuse(
        InstanceData(bboxes=boxes, scores=rpn_scores),
        InstanceData(bboxes=refined, scores=rcnn_scores),
    )

    order = np.argsort(-np.array(stored['ensemble_scores']))
    np.testing.assert_allclose(
        fused.scores, np.array(stored['ensemble_scores'])[order], atol=1e-6
    )
    assert torch.equal(fused.bboxes, boxes[order])
    assert torch.equal(fused.rpn_scores, rpn_scores[order])
    np.testing.assert_allclose(
        fused.rcnn_scores, logits.softmax(1)[order, 1], rtol=1e-12
    )


def test_mask_boxes_published_and_repaired() -> None:
    stored = vectors()['mask_boxes']
    boxes = edges(stored['center'])
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)

    published = PublishedMask3DHead().align(rois, stored['img'])
    repaired = Mask3DHead().align(rois, stored['img'])

    np.testing.assert_allclose(boxes - 0.5, stored['coord'], atol=1e-12)
    assert published[:, 1:].tolist() == stored['crop']
    low, high = repaired[:, 1:4], repaired[:, 4:]
    assert ((high - low) >= 4).all()
    inside = torch.minimum(boxes[:, 3:], torch.tensor(stored['img']))
    assert (high >= inside).all()
    assert (low <= boxes[:, :3].clamp(min=0)).all()


def mask_loss(labels: list[torch.Tensor]) -> float:
    """Published loss of the vector's logits, one box for each label map."""
    logits, num = mask_logits(), len(labels)
    boxes = torch.tensor([[k, 0, 0, 0, *logits.shape] for k in range(num)])
    head = PublishedMask3DHead()
    targets = head.get_targets(boxes, labels, torch.ones(num).long())
    return float(head.loss([logits] * num, targets)['loss_mask'])


@pytest.mark.parametrize(('key', 'number'), MASK_TARGETS.items())
def test_mask_loss(key: str, number: int) -> None:
    loss = mask_loss([mask_labels(number)])

    assert loss == pytest.approx(vectors()['mask_loss'][key], rel=1e-9)


def test_mask_loss_of_other_targets() -> None:
    stored = vectors()['mask_loss']
    both = mask_labels(1)
    both[3, 3, 7] = 2

    assert mask_loss([both]) == pytest.approx(
        stored['loss_label1_and_2'], rel=1e-9
    )
    assert mask_loss([torch.ones_like(both)]) == pytest.approx(
        stored['full_target'], rel=1e-9
    )
    # a sum over boxes, not their mean
    assert mask_loss([mask_labels(1), mask_labels(2)]) == pytest.approx(
        stored['total_of_two'], rel=1e-9
    )
