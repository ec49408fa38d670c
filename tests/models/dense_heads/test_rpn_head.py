from __future__ import annotations

from typing import Any

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models import RPN3DHead
from lungdet.models.dense_heads import rpn_head
from lungdet.models.task_modules import AnchorGenerator3D, DeltaBoxCoder3D
from lungdet.models.views import View, flip_boxes
from lungdet.ops import box_centers, box_iou, clip_box_centers, nms
from tests.models.nets import NODULE, SHAPE, feature_maps, sample_of

CFG = {'score_thr': 0.5, 'nms_thr': 0.1, 'nms_pre': None, 'max_num': None}


@pytest.fixture
def output() -> dict:
    """Every anchor of a 32^3 crop in its position, with a random score."""
    torch.manual_seed(0)
    anchors = RPN3DHead().prior_generator.grid_anchors((8, 8, 8))
    return {
        'scores': (torch.randn(1, len(anchors)) + 2).sigmoid(),
        'deltas': torch.zeros(1, len(anchors), 6),
        'anchors': anchors,
        'img_shape': (32, 32, 32),
    }


def test_only_the_best_anchors_meet_each_other(output: dict) -> None:
    """Published: all above 0.5 do, thousands in an untrained net."""
    head = RPN3DHead()

    (all_of_them,) = head.predict_by_feat(**output, cfg=CFG)
    (bounded,) = head.predict_by_feat(**output, cfg={**CFG, 'nms_pre': 50})

    scores = output['scores'][0]
    assert (scores > 0.5).sum() > 2000
    best = scores.argsort(descending=True)[:50]
    anchors = output['anchors'][best]
    keep = best[nms(anchors, scores[best], 0.1)]
    assert torch.equal(bounded.bboxes, output['anchors'][keep])
    assert torch.equal(bounded.scores, scores[keep])
    assert len(all_of_them.bboxes) > len(bounded.bboxes)


def test_the_best_proposals_are_kept(output: dict) -> None:
    head = RPN3DHead()

    (all_of_them,) = head.predict_by_feat(**output, cfg=CFG)
    (few,) = head.predict_by_feat(**output, cfg={**CFG, 'max_num': 7})

    assert torch.equal(few.bboxes, all_of_them.bboxes[:7])
    overlap = box_iou(few.bboxes, few.bboxes).fill_diagonal_(0)
    assert overlap.max() <= 0.1
    assert (few.scores.diff() <= 0).all()


@pytest.mark.parametrize('max_at_once', [0, 100_000])
def test_only_proposals_of_the_region_count_towards_the_limit(
    output: dict, max_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpn_head, 'MAX_AT_ONCE', max_at_once)
    head, region = RPN3DHead(), torch.tensor([[0, 0, 0, 16, 16, 16]])

    (all_of_them,) = head.predict_by_feat(**output, cfg=CFG)
    (few,) = head.predict_by_feat(
        **output, cfg={**CFG, 'max_num': 7}, regions=region
    )

    inside = (box_centers(all_of_them.bboxes) < 16).all(1)
    assert torch.equal(few.bboxes, all_of_them.bboxes[inside][:7])
    assert inside[:7].sum() < 7 < inside.sum()


def test_training_proposals_follow_the_training_config() -> None:
    torch.manual_seed(0)
    head = RPN3DHead(
        in_channels=8,
        feat_channels=4,
        train_cfg={'proposals': {'score_thr': 0.3, 'max_num': 5}},
        test_cfg={'score_thr': 0.3, 'max_num': 3},
    ).eval()
    feats = feature_maps(2, (4, 8, 8))
    samples = [sample_of([NODULE]), sample_of([])]

    losses, proposals = head.loss_and_predict(feats, samples)

    assert losses == head.loss(feats, samples)
    assert set(losses) == {'loss_rpn_cls', 'loss_rpn_bbox'}
    for training, test in zip(
        proposals, head.predict([View(feats)]), strict=True
    ):
        assert len(training) == 5
        assert torch.equal(training.bboxes[:3], test.bboxes)


def test_box_loss_comes_from_the_config() -> None:
    loss = {'type': 'SmoothL1BoxLoss', 'loss_weight': 2.0}
    feats, samples = (
        feature_maps(1, (4, 8, 8)),
        [sample_of([[8] * 3 + [20] * 3])],
    )
    values = []
    for loss_bbox in (None, loss):
        torch.manual_seed(0)
        head = RPN3DHead(8, 4, loss_bbox=loss_bbox).eval()
        values.append(head.loss(feats, samples)['loss_rpn_bbox'])

    torch.testing.assert_close(values[1], 2 * values[0])
    assert values[0] > 0


@pytest.mark.parametrize(
    ('norm_cfg', 'kind'),
    [
        ({'type': 'BN3d'}, torch.nn.BatchNorm3d),
        ({'type': 'SyncBN'}, torch.nn.SyncBatchNorm),
        ({'type': 'IN3d'}, torch.nn.InstanceNorm3d),
        ({'type': 'GN', 'num_groups': 2}, torch.nn.GroupNorm),
    ],
)
def test_norm_and_activation_are_mmcvs(norm_cfg: dict, kind: type) -> None:
    head = RPN3DHead(8, 4, norm_cfg=norm_cfg, act_cfg={'type': 'LeakyReLU'})

    _, norm, act = head.conv
    assert isinstance(norm, kind) and isinstance(act, torch.nn.LeakyReLU)
    logits, _ = head.eval()(feature_maps(1, (4, 8, 8)))
    assert logits.shape == (1, 5 * SHAPE[0] * SHAPE[1] * SHAPE[2] // 64)


def test_unknown_norm() -> None:
    with pytest.raises(ConfigError, match=r"norm_cfg\.type='BN4d'.*'BN3d'"):
        RPN3DHead(8, 4, norm_cfg={'type': 'BN4d'})


def test_views_are_averaged_anchor_by_anchor() -> None:
    """Compared with a search of each anchor's mirrored one."""
    torch.manual_seed(0)
    head = RPN3DHead(
        in_channels=8,
        feat_channels=4,
        test_cfg={'score_thr': 0.0, 'nms_thr': 1.0, 'nms_pre': None},
    ).eval()
    first, second = (feature_maps(1, (4, 8, 8), (8, 12, 16)) for _ in '12')
    views = [View(first), View(second, (0, 2))]
    shape, anchors = views[0].feats.img_shape, head.anchors(views[0].feats)
    with torch.no_grad():
        (plain, shifts), (mirrored, back) = (head(v.feats) for v in views)

    head.test_cfg['max_num'] = None
    (proposals,) = head.predict(views)

    wanted = []
    for k, anchor in enumerate(flip_boxes(anchors, (0, 2), shape)):
        j = int((anchors - anchor).abs().sum(1).argmin())
        score = (plain[0, k].sigmoid() + mirrored[0, j].sigmoid()) / 2
        signs = torch.tensor([-1.0, 1, -1, 1, 1, 1])
        mean = (shifts[0, k] + back[0, j] * signs) / 2
        box = head.bbox_coder.decode(anchors[k : k + 1], mean[None])
        wanted.append((float(score), clip_box_centers(box, shape)[0]))
    wanted.sort(key=lambda row: -row[0])
    assert len(proposals) == len(anchors)
    scores, boxes = zip(*wanted)
    assert proposals.scores.tolist() == pytest.approx(list(scores))
    torch.testing.assert_close(proposals.bboxes, torch.stack(boxes))


class SkewCoder(DeltaBoxCoder3D):
    """Shifts along x by the first delta as well."""

    def decode(
        self, anchors: torch.Tensor, deltas: torch.Tensor
    ) -> torch.Tensor:
        boxes = super().decode(anchors, deltas)
        boxes[:, [2, 5]] += deltas[:, :1].abs()
        return boxes


class CornerAnchors(AnchorGenerator3D):
    """Boxes that start at the first corner of their cell."""

    def grid_anchors(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return super().grid_anchors(*args, **kwargs) + 1


@pytest.mark.parametrize(
    ('part', 'value'),
    [('bbox_coder', SkewCoder()), ('prior_generator', CornerAnchors())],
)
def test_boxes_that_cannot_be_mirrored_are_refused_in_several_views(
    part: str, value: Any
) -> None:
    head = RPN3DHead(in_channels=8, feat_channels=4).eval()
    setattr(head, part, value)
    feats = feature_maps(1, (4, 8, 8))

    head.predict([View(feats)])
    with pytest.raises(ConfigError, match=rf'{type(value).__name__}.*flips=1'):
        head.predict([View(feats), View(feats, (2,))])
