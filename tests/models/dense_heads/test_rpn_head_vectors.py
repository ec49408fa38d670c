"""The RPN against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.models import (
    AnchorGenerator3D,
    DeltaBoxCoder3D,
    HardNegativeBCE,
    PublishedAssigner3D,
    RPN3DHead,
    SmoothL1BoxLoss,
)
from lungdet.ops import box_iou
from tests.oracles.reference import edges, index_form, v, vectors

RPN_CASES = {case['name']: case for case in vectors()['rpn_target']['cases']}


def test_anchors() -> None:
    stored = vectors()['anchors']
    generator = AnchorGenerator3D(
        [size[0] for size in stored['sizes']], stored['stride']
    )

    boxes = generator.grid_anchors(
        stored['feature_shape'], dtype=torch.float64
    )

    np.testing.assert_array_equal(index_form(boxes), stored['boxes'])


@pytest.mark.parametrize(
    ('key', 'weights'),
    [('deltas_w1', (1,) * 6), ('deltas_w10_5', (10,) * 3 + (5,) * 3)],
)
def test_coder(key: str, weights: tuple) -> None:
    stored = vectors()['codec']
    anchors, gt = edges(stored['anchors']), edges(stored['gt'])
    coder = DeltaBoxCoder3D(weights)

    deltas = coder.encode(anchors, gt)
    decoded = coder.decode(anchors, deltas)
    single = coder.decode(anchors.float(), deltas.float())

    np.testing.assert_allclose(deltas, stored[key], atol=1e-12)
    np.testing.assert_allclose(decoded, gt, atol=1e-12)
    assert decoded.dtype == torch.float64  # published: always float32
    np.testing.assert_allclose(
        index_form(single), stored['decoded_float32'], atol=1e-5
    )


def rpn_input(name: str) -> tuple[dict, torch.Tensor, torch.Tensor]:
    stored = RPN_CASES[name]
    anchors = AnchorGenerator3D().grid_anchors(
        [n // 4 for n in stored['input_shape']], dtype=torch.float64
    )
    gt = edges(stored['gt']) if stored['gt'] else torch.zeros(0, 6).double()
    return stored, anchors, gt


@pytest.mark.parametrize('name', RPN_CASES)
def test_rpn_candidates(name: str) -> None:
    stored, anchors, gt = rpn_input(name)
    wanted = stored.get('positive_candidates_index_gt', [])

    assigned = PublishedAssigner3D().assign(anchors, gt)

    inds = torch.nonzero(assigned.positive).flatten().tolist()
    pairs = [[i, int(assigned.gt_inds[i])] for i in inds]
    assert pairs[: len(wanted)] == wanted  # of 'outside' 60 are stored
    if len(gt):
        best = box_iou(anchors, gt).max(0).values
        np.testing.assert_allclose(best, stored['max_iou_per_gt'], rtol=1e-12)
    assert len(inds) == stored.get('positives_before_sampling', 0)


@pytest.mark.parametrize('mode', ['train', 'valid'])
@pytest.mark.parametrize('name', RPN_CASES)
def test_rpn_targets(
    name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published draw replaced by "the first", as in the vectors."""
    stored, anchors, gt = rpn_input(name)
    monkeypatch.setattr(
        torch, 'randperm', lambda n, **kwargs: torch.arange(n, **kwargs)
    )
    head = RPN3DHead(
        train_cfg={
            'assigner': {'type': 'PublishedAssigner3D'},
            'sampler': {'type': 'PublishedAnchorSampler3D'},
        }
    ).train(mode == 'train')

    roles = head.get_targets(anchors, gt)

    wanted = stored[mode]
    if 'raises' in wanted:  # a division by the number of negatives, none here
        wanted = stored['valid']
    positive = torch.nonzero(roles.positive).flatten()
    negative = torch.nonzero(roles.negative).flatten()
    assert positive.tolist() == wanted['positive']
    assert len(negative) == wanted['n_bg']
    assert int(negative.sum()) == wanted['bg_index_sum']
    assert len(positive) + len(negative) == wanted['label_weight_nonzero']
    owner = roles.gt_inds[positive]
    assert owner.tolist() == wanted['assign_of_positive']
    deltas = head.bbox_coder.encode(anchors[positive], gt[owner])
    np.testing.assert_allclose(
        deltas,
        np.array(wanted['target']).reshape(-1, 7)[:, 1:],
        rtol=1e-6,
        atol=1e-6,  # stored as float32
    )


@pytest.mark.parametrize('mode', ['train', 'valid'])
def test_rpn_loss(mode: str) -> None:
    stored = vectors()['rpn_loss']
    j, c = np.arange(40), np.arange(6)
    logits = torch.from_numpy(3 * (((7919 * j + 13) % 101) / 50 - 1))
    deltas = torch.from_numpy(
        2 * (((31 * j[:, None] + 17 * c + 5) % 97) / 48 - 1)
    )
    targets = torch.from_numpy(((13 * j[:, None] + 7 * c + 1) % 89) / 44 - 1)
    positive = torch.zeros(40, dtype=torch.bool)
    positive[stored['positives']] = True
    negative = ~positive
    negative[stored['weight_zero']] = False
    loss = HardNegativeBCE(num_hard=3).train(mode == 'train')

    cls = loss(logits, positive, negative)
    box = SmoothL1BoxLoss()(deltas[positive], targets[positive])

    assert float(cls) == pytest.approx(stored[mode]['cls'], rel=1e-9)
    assert float(box) == pytest.approx(stored[mode]['reg'], rel=1e-9)


def test_rpn_proposals() -> None:
    stored = vectors()['rpn_nms']
    cells = [n // 4 for n in stored['input_shape']]
    num = int(np.prod(cells)) * 5
    logits = torch.from_numpy(3 * v(0, np.arange(num)))[None]
    deltas = torch.from_numpy(0.3 * v(0, np.arange(num * 6))).view(1, num, 6)
    head = RPN3DHead(bbox_coder={'type': 'DeltaBoxCoder3D'})

    (proposals,) = head.predict_by_feat(
        logits.sigmoid(),
        deltas,
        head.prior_generator.grid_anchors(cells, dtype=torch.float64),
        img_shape=tuple(stored['input_shape']),
        cfg={
            'score_thr': 0.5,
            'nms_thr': 0.1,
            'nms_pre': None,
            'max_num': None,
        },
    )

    assert len(proposals.bboxes) == stored['n_keep']
    wanted = np.array(stored['first'])
    rows = np.column_stack([proposals.scores, index_form(proposals.bboxes)])
    np.testing.assert_allclose(rows[:5], wanted[:, 1:], atol=1e-5)
    np.testing.assert_allclose(rows[-1], stored['last'][1:], atol=1e-5)
    np.testing.assert_allclose(
        rows.sum(0), stored['column_sums'][1:], atol=1e-5 * len(rows)
    )
    assert int((logits.sigmoid() > 0.5).sum()) == stored['above_threshold']
