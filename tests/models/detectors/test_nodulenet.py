"""NoduleNet's losses and schedule, on a narrow net."""

from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError, DivergenceError
from lungdet.ops import computes_bfloat16, grow_boxes
from tests.models.nets import (
    LOSSES,
    NODULE,
    SHAPE,
    narrow_net,
    sample_of,
)


@pytest.mark.parametrize(
    'crops',
    [
        [[[10, 10, 10, 18, 18, 18]], []],
        [[], []],
        [
            [[10, 10, 10, 18, 18, 18], [2, 2, 30, 9, 9, 38]],
            [[1, 1, 1, 8, 8, 8]],
        ],
    ],
    ids=['one empty', 'all empty', 'several'],
)
def test_losses_and_gradients_are_finite(crops: list) -> None:
    net = narrow_net().train()
    image = torch.randn(2, 1, 32, 32, 48)

    losses = net(image, [sample_of(c) for c in crops], mode='loss')
    sum(losses.values()).backward()

    assert set(losses) == LOSSES
    assert all(torch.isfinite(value) for value in losses.values())
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_heads_start_by_schedule() -> None:
    net = narrow_net().train()
    image, samples = (
        torch.randn(1, 1, 32, 32, 48),
        [sample_of([[10, 10, 10, 18, 18, 18]])],
    )
    names = {}
    for epoch in (64, 65, 80):
        net.set_epoch(epoch)
        names[epoch] = set(net(image, samples, mode='loss'))

    assert not any('rcnn' in n or 'mask' in n for n in names[64])
    assert 'loss_rcnn_cls' in names[65] and 'loss_mask' not in names[65]
    assert 'loss_mask' in names[80]


@pytest.mark.parametrize(
    'changes',
    [
        {'train_cfg': {'rcn': {'start_epoch': 5}}},
        {'train_cfg': {'rcnn': {'start': 5}}},
        {'train_cfg': {'mask': {'max_positives': 4}}},
        {'train_cfg': {'rpn': {'proposals': {'nms': 0.1}}}},
        {'test_cfg': {'mask': {'score': 0.3}}},
        {'test_cfg': {'rpn': {'max_nums': 3}}},
    ],
)
def test_misspelt_keys_are_errors(changes: dict) -> None:
    with pytest.raises(ConfigError, match='_cfg.*: unknown key .*known: '):
        narrow_net(**changes)


def test_what_is_not_given_stays_at_its_default() -> None:
    net = narrow_net(
        train_cfg={
            'rcnn': {'start_epoch': 5, 'assigner': {'neg_iou': 0.2}},
            'rpn': {'sampler': {'type': 'PublishedAnchorSampler3D'}},
        }
    )

    net.set_epoch(5)
    assert net.bbox_started and not net.mask_started
    net.set_epoch(80)
    assert net.mask_started
    assigner = net.roi_head.bbox_assigner
    assert (assigner.pos_iou, assigner.neg_iou) == (0.5, 0.2)
    assert type(net.rpn_head.sampler).__name__ == 'PublishedAnchorSampler3D'
    assert net.rpn_head.sampler.num_neg == 800


def test_nodule_without_mask_gives_no_mask_loss() -> None:
    net = narrow_net().train()
    image = torch.randn(1, 1, 32, 32, 48)

    losses = net(image, [sample_of([NODULE], has_mask=False)], mode='loss')

    assert float(losses['loss_mask'].detach()) == 0


@pytest.mark.skipif(
    not computes_bfloat16('cpu'),
    reason='this CPU emulates bfloat16, minutes for a convolution',
)
def test_bf16_losses_of_all_heads_stay_near_float32() -> None:
    # no proposals but the true boxes: scores decide no RoI, so both runs have
    # the same ones
    net = narrow_net(
        train_cfg={'rpn': {'proposals': {'score_thr': 1.0}}}
    ).train()
    image = torch.randn(2, 1, *SHAPE)
    samples = [sample_of([NODULE]), sample_of([])]

    torch.manual_seed(1)
    exact = net(image, samples, mode='loss')
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        rough = net(image, samples, mode='loss')

    assert set(rough) == set(exact) == LOSSES
    for name in exact:
        assert rough[name].dtype == torch.float32
        assert float(rough[name].detach()) == pytest.approx(
            float(exact[name].detach()), rel=0.1
        )


def test_rpn_alone_trains_and_predicts() -> None:
    net = narrow_net(roi_head=None, test_cfg={'window': SHAPE}).train()

    losses = net(torch.randn(1, 1, *SHAPE), [sample_of([NODULE])], mode='loss')
    detections = net.eval().predict_case(torch.zeros(1, *SHAPE))

    assert set(losses) == {'loss_rpn_cls', 'loss_rpn_bbox'}
    assert len(detections) and detections.rcnn_scores.isnan().all()
    assert torch.equal(detections.scores, detections.rpn_scores)
    assert detections.masks == [None] * len(detections)


@pytest.mark.parametrize(
    ('name', 'what'),
    [
        ('backbone.forw1.0.conv1.weight', 'features of the backbone'),
        ('rpn_head.logits.bias', 'scores and boxes of the RPN head'),
        ('roi_head.bbox_head.logit.bias', 'scores and boxes of the RoI head'),
        ('roi_head.mask_head', 'masks'),
    ],
)
def test_a_broken_network_does_not_say_that_a_scan_is_healthy(
    name: str, what: str
) -> None:
    net = narrow_net().eval()
    net.set_epoch(100)
    parameters = dict(net.named_parameters())
    last = [key for key in parameters if key.startswith(name)][-1]
    parameters[last].data.view(-1)[0] = torch.nan

    with pytest.raises(DivergenceError, match=what):
        net.predict_case(torch.zeros(1, *SHAPE))


def test_border_is_around_targets_and_candidates() -> None:
    net = narrow_net(box_border=8.0).train()
    plain = narrow_net().train()
    image = torch.randn(1, 1, *SHAPE)
    around = [[6.0, 6, 6, 22, 22, 22]]
    sample = sample_of([NODULE])

    torch.manual_seed(1)
    losses = net(image, [sample], mode='loss')
    torch.manual_seed(1)
    wanted = plain(image, [sample_of(around)], mode='loss')

    for name in LOSSES:
        assert torch.equal(losses[name], wanted[name]), name
    assert sample.gt_instances.bboxes.tolist() == [NODULE]
    net.eval(), plain.eval()
    windows = torch.zeros(1, 1, 32, 32, 32)
    (scores,) = net.score_window(windows, [torch.tensor([NODULE]).float()])
    (same,) = plain.score_window(windows, [torch.tensor(around)])
    assert torch.equal(scores, same)


def test_detections_have_no_border() -> None:
    case = torch.zeros(1, *SHAPE)

    shown = narrow_net(box_border=8.0).eval().predict_case(case)
    made = narrow_net().eval().predict_case(case)

    assert len(made) and torch.equal(shown.scores, made.scores)
    assert torch.equal(shown.bboxes, grow_boxes(made.bboxes, -8.0))
    assert torch.equal(shown.mask_boxes, made.mask_boxes)


def test_the_memory_format_changes_no_feature() -> None:
    net = narrow_net().eval()
    images = torch.randn(1, 1, *SHAPE)
    weight = net.backbone.forw2[0].conv1.weight
    last = torch.channels_last_3d

    with torch.no_grad():
        plain = net.extract_feat(images)
        net.set_channels_last(True)
        turned = net.extract_feat(images)
        assert weight.is_contiguous(memory_format=last)
        net.set_channels_last(False)
        again = net.extract_feat(images)

    assert weight.is_contiguous() and not net.channels_last
    for a, b, c in zip(plain[1:], turned[1:], again[1:]):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
        assert torch.equal(c, a)
