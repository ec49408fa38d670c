from __future__ import annotations

import pytest
import torch

from lungdet.data_sample import InstanceData
from lungdet.errors import ConfigError
from lungdet.models import DetectionPostProcessor

BOXES = torch.tensor([[0.0] * 3 + [4.0] * 3, [10.0] * 3 + [14.0] * 3])
RPN = InstanceData(bboxes=BOXES, scores=torch.tensor([0.5, 0.4]))
RCNN = InstanceData(bboxes=BOXES + 1, scores=torch.tensor([0.2, 0.9]))


@pytest.mark.parametrize(
    ('fusion', 'scores'),
    [
        ('mean', [0.65, 0.35]),
        ('product', [0.36, 0.1]),
        ('rcnn', [0.9, 0.2]),
        ('rpn', [0.5, 0.4]),
    ],
)
def test_scores_are_fused_and_sorted(fusion: str, scores: list) -> None:
    fused = DetectionPostProcessor(score_fusion=fusion).fuse(RPN, RCNN)

    order = [0, 1] if fusion == 'rpn' else [1, 0]
    assert fused.scores.tolist() == pytest.approx(scores)
    assert torch.equal(fused.bboxes, RCNN.bboxes[order])
    assert torch.equal(fused.rpn_scores, RPN.scores[order])
    assert torch.equal(fused.rcnn_scores, RCNN.scores[order])
    assert fused.masks == [None, None] and not fused.mask_boxes.any()


def test_box_is_the_proposals_or_the_refined_one() -> None:
    fused = {
        source: DetectionPostProcessor(box_source=source).fuse(RPN, RCNN)
        for source in ('rpn', 'rcnn')
    }

    assert torch.equal(fused['rpn'].bboxes, BOXES[[1, 0]])
    assert torch.equal(fused['rcnn'].bboxes, BOXES[[1, 0]] + 1)


def test_rpn_alone_gives_score_and_box() -> None:
    fused = DetectionPostProcessor().fuse(RPN, None)

    assert torch.equal(fused.bboxes, BOXES)
    assert torch.equal(fused.scores, RPN.scores)
    assert fused.rcnn_scores.isnan().all()


def test_overlap_centre_distance_or_both_suppress() -> None:
    # sides of 4: IoU 1 / 3 of the first two, whose centres are 2 apart;
    # the third does not overlap the first, its centre is 5 away
    shift = torch.tensor([0.0, 2, 5, 40])[:, None] * torch.tensor(
        [0.0, 0, 1, 0, 0, 1]
    )
    detections = InstanceData(
        bboxes=BOXES[:1] + shift, scores=torch.tensor([0.9, 0.8, 0.7, 0.6])
    )

    def kept(**nms: float | None) -> list:
        post = DetectionPostProcessor(nms=nms)
        return post.select(detections).bboxes[:, 2].tolist()

    assert kept(iou_thr=0.1) == [0, 5, 40]
    assert kept(iou_thr=0.5) == [0, 2, 5, 40]
    assert kept(iou_thr=None, center_distance=2.5) == [0, 5, 40]
    assert kept(iou_thr=None, center_distance=2.0) == [0, 2, 5, 40]
    assert kept(iou_thr=None, center_distance=6.0) == [0, 40]
    assert kept(iou_thr=0.1, center_distance=6.0) == [0, 40]
    assert kept(iou_thr=None) == [0, 2, 5, 40]


def test_the_best_of_a_scan_are_kept() -> None:
    detections = DetectionPostProcessor().fuse(RPN, RCNN)

    best = DetectionPostProcessor(max_per_scan=1).select(detections)

    assert best.scores.tolist() == pytest.approx([0.65])
    assert len(DetectionPostProcessor().select(detections)) == 2


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ({'box_source': 'mask'}, r"box_source: 'mask'.*\['rcnn', 'rpn'\]"),
        ({'score_fusion': 'max'}, "score_fusion: 'max'.*'product'"),
        ({'nms': {'iou_th': 1}}, "nms: unknown key 'iou_th'.*'iou_thr'"),
    ],
)
def test_unknown_values(argument: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DetectionPostProcessor(**argument)
