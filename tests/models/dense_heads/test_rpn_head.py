from __future__ import annotations

import pytest
import torch

from lungdet.models import RPN3DHead
from lungdet.ops import box_iou, nms


@pytest.fixture
def output() -> dict:
    """Every anchor of a 32^3 crop at its own place, with a random score."""
    torch.manual_seed(0)
    anchors = RPN3DHead().anchors.grid_anchors((8, 8, 8))
    return {
        'logits': torch.randn(1, len(anchors)) + 2,
        'deltas': torch.zeros(1, len(anchors), 6),
        'anchors': anchors,
        'img_shape': (32, 32, 32),
    }


def test_only_the_best_anchors_meet_each_other(output: dict) -> None:
    """Published: all above 0.5 do, thousands in an untrained net."""
    head = RPN3DHead()
    cfg = {'score_thr': 0.5, 'nms_thr': 0.1}

    (all_of_them,) = head.proposals(**output, cfg=cfg)
    (bounded,) = head.proposals(**output, cfg={**cfg, 'nms_pre': 50})

    scores = output['logits'][0].sigmoid()
    assert (scores > 0.5).sum() > 2000
    best = scores.argsort(descending=True)[:50]
    anchors = output['anchors'][best]
    keep = best[nms(anchors, scores[best], 0.1)]
    assert torch.equal(bounded.bboxes, output['anchors'][keep])
    assert torch.equal(bounded.scores, scores[keep])
    assert len(all_of_them.bboxes) > len(bounded.bboxes)


def test_the_best_proposals_are_kept(output: dict) -> None:
    head = RPN3DHead()
    cfg = {'score_thr': 0.5, 'nms_thr': 0.1}

    (all_of_them,) = head.proposals(**output, cfg=cfg)
    (few,) = head.proposals(**output, cfg={**cfg, 'max_num': 7})

    assert torch.equal(few.bboxes, all_of_them.bboxes[:7])
    overlap = box_iou(few.bboxes, few.bboxes).fill_diagonal_(0)
    assert overlap.max() <= 0.1
    assert (few.scores.diff() <= 0).all()
