"""NoduleNet's losses, schedule and whole-case inference, on a narrow net."""

from __future__ import annotations

import pytest
import torch

from lungdet.data_sample import InstanceData
from lungdet.errors import ConfigError
from lungdet.models.detectors import nodulenet
from lungdet.models.detectors.sliding_window import Window, windows
from lungdet.ops import computes_bfloat16
from tests.models.host_syncs import HostSyncs
from tests.models.nets import SHAPE, narrow_net, sample_of

NODULE = [10, 10, 10, 18, 18, 18]
LOSSES = {
    'loss_rpn_cls',
    'loss_rpn_bbox',
    'loss_rcnn_cls',
    'loss_rcnn_bbox',
    'loss_mask',
}


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
        {'train_cfg': {'stage_epochs': {'rcn': 5}}},
        {'train_cfg': {'max_mask_positives': 4}},
        {'test_cfg': {'mask': {'score': 0.3}}},
    ],
)
def test_misspelt_keys_are_errors(changes: dict) -> None:
    with pytest.raises(ConfigError, match='unknown key .*known: '):
        narrow_net(**changes)


def test_one_start_of_a_head_leaves_the_other() -> None:
    net = narrow_net(train_cfg={'stage_epochs': {'rcnn': 5}})

    assert net.train_cfg['stage_epochs'] == {'rcnn': 5, 'mask': 80}


def test_nodule_without_mask_gives_no_mask_loss() -> None:
    net = narrow_net().train()
    image = torch.randn(1, 1, 32, 32, 48)

    losses = net(image, [sample_of([NODULE], has_mask=False)], mode='loss')

    assert float(losses['loss_mask'].detach()) == 0


def test_training_without_any_detection_still_reaches_the_mask_head() -> None:
    """Published: no mask targets, an AttributeError."""
    net = narrow_net(
        train_cfg={
            'mask_from': 'detections',
            'detections': {'score_thr': 1.0},
        }
    ).train()

    losses = net(torch.randn(1, 1, *SHAPE), [sample_of([NODULE])], mode='loss')
    losses['loss_mask'].backward()

    assert float(losses['loss_mask'].detach()) == 0
    for name, parameter in net.mask_head.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


@pytest.mark.parametrize('most', [1, 3, None])
def test_mask_head_takes_so_many_boxes_of_a_crop(
    most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = narrow_net(train_cfg={'max_mask_pos': most})
    roi = torch.tensor([[0.0, *NODULE]])
    rois = torch.cat([roi.repeat(5, 1), roi + torch.tensor([1.0] + [0] * 6)])
    image = torch.randn(2, 1, *SHAPE)
    seen = net._screen(image, net.extract(image))
    taken: list[torch.Tensor] = []
    loss = net.mask_head.loss

    def note(logits: list, boxes: torch.Tensor, *rest: object) -> dict:
        taken.append(boxes[:, 0])
        return loss(logits, boxes, *rest)

    monkeypatch.setattr(net.mask_head, 'loss', note)
    net._mask_loss(seen, rois, [sample_of([NODULE])] * 2)

    assert torch.bincount(taken[0]).tolist() == [most or 5, 1]


@pytest.mark.skipif(
    not computes_bfloat16('cpu'),
    reason='this CPU emulates bfloat16, minutes for a convolution',
)
def test_bf16_losses_of_all_heads_stay_near_float32() -> None:
    # no proposals but the true boxes: scores decide no row of the second
    # stage, so both runs see the same ones
    net = narrow_net(train_cfg={'proposals': {'score_thr': 1.0}}).train()
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


def test_scan_without_proposals_gives_empty_results() -> None:
    net = narrow_net().eval()
    torch.nn.init.constant_(net.rpn.logits.bias, -50)

    found = net.predict_case(torch.zeros(1, 40, 30, 50, dtype=torch.int16))

    assert found.bboxes.shape == (0, 6)
    assert found.masks == []


def marks_at(centers: list, scores: list) -> InstanceData:
    """Cubes of 4 voxels, without masks."""
    center = torch.tensor(centers)
    score = torch.tensor(scores)
    return InstanceData(
        bboxes=torch.cat([center - 2, center + 2], dim=1),
        scores=score,
        rpn_scores=score,
        rcnn_scores=score,
        mask_boxes=torch.zeros(len(score), 6, dtype=torch.long),
        masks=[None] * len(score),
    )


def test_mark_at_a_seam_is_kept_once_and_none_lies_outside() -> None:
    """Windows that place one mark on both sides of their seam lose nothing."""
    net = narrow_net().eval()
    starts: list[tuple] = []

    def one_mark(seen: object, window: Window) -> InstanceData:
        starts.append(window.start)
        # each window sees the nodule at x = 24, itself a little off
        x = 24 + (1 if window.start[2] == 0 else -1) * 0.9
        near, far = [16.0, 10.0, x], [16.0, 31.0, 10.0]  # far: in the padding
        low = torch.tensor(window.core_low) - nodulenet.SEAM
        high = torch.tensor(window.core_high) + nodulenet.SEAM
        marks = marks_at([near, far], [0.9, 0.8])
        center = torch.tensor([near, far])
        return marks[((center >= low) & (center < high)).all(1)]

    net._marks = one_mark

    found = net.predict_case(torch.zeros(1, 32, 20, 48, dtype=torch.int16))

    assert starts == [(0, 0, 0), (0, 0, 16)]
    assert len(found.bboxes) == 1
    assert float(found.scores[0]) == pytest.approx(0.9)


def test_whole_case_is_one_window_padded_at_the_end() -> None:
    case = torch.randint(-1000, 200, (1, 30, 40, 33), dtype=torch.int16)
    cfg = {'mask': {'score_thr': 0.0}, 'proposals': {'score_thr': 0.4}}

    whole = narrow_net(test_cfg={**cfg, 'window': None}).eval()
    window = narrow_net(test_cfg={**cfg, 'window': (32, 48, 48)}).eval()
    found, wanted = whole.predict_case(case), window.predict_case(case)

    assert len(found) > 1 and found.masks[0] is not None
    assert torch.equal(found.bboxes, wanted.bboxes)
    assert torch.equal(found.scores, wanted.scores)
    for mask, box in zip(found.masks, found.mask_boxes):
        assert (box[3:] <= torch.tensor(case.shape[1:])).all()
        if mask is not None:
            assert mask.shape == tuple((box[3:] - box[:3]).tolist())


def test_masks_lie_where_their_boxes_say() -> None:
    """Published: a whole volume for each; here the box's voxels alone."""
    net = narrow_net(
        test_cfg={
            'window': (32, 32, 32),
            'overlap': 16,
            'proposals': {'score_thr': 0.3},
            'mask': {'score_thr': 0.0, 'max_per_window': None},
        }
    ).eval()

    def bright(image: torch.Tensor, *rest: torch.Tensor) -> list:
        volume, boxes = image[0, 0], rest[-1][:, 1:].tolist()
        return [volume[a:d, b:e, c:f] for a, b, c, d, e, f in boxes]

    net.mask_head.forward = bright
    case = torch.randint(-1000, 400, (1, 30, 40, 70), dtype=torch.int16)

    found = net.predict_case(case)

    # three windows lie side by side along x; -300 HU is the window's middle
    assert (found.mask_boxes[:, 2] >= 40).any()
    for mask, box in zip(found.masks, found.mask_boxes.tolist()):
        z1, y1, x1, z2, y2, x2 = box
        assert (mask == (case[0, z1:z2, y1:y2, x1:x2] > -300).numpy()).all()
        assert mask.any()


def test_voxels_beyond_the_case_look_like_those_beyond_a_crop() -> None:
    """Published: byte 0, -1 to the network, at test; in crops 170, 0 HU."""
    case = torch.full((1, 20, 32, 32), -800, dtype=torch.int16)
    seen = {}
    for pad_hu in (0, -1200):
        net = narrow_net(
            data_preprocessor={'type': 'CTDataPreprocessor', 'pad_hu': pad_hu}
        ).eval()
        (window,) = windows(case.shape[1:], (32, 32, 32), 16)
        with torch.no_grad():
            ((_, image, _),) = net._look(case, [window])
        seen[pad_hu] = image[0, 0, 20:].unique().tolist()

    assert seen == {0: [pytest.approx(1 / 3)], -1200: [-1]}


def test_marks_ask_the_device_as_often_for_two_as_for_forty() -> None:
    """Published: every proposal, coordinate and mask is fetched by itself."""
    counts = []
    for num in (2, 40):
        net = narrow_net(
            test_cfg={
                'window': SHAPE,
                'box_source': 'rpn',
                'mask': {'score_thr': 0.0, 'max_per_window': None},
            }
        ).eval()
        corner = torch.cartesian_prod(
            *(torch.arange(0.0, n, 8) for n in SHAPE)
        )
        boxes = torch.cat([corner, corner + 8], dim=1)[:num]
        found = InstanceData(bboxes=boxes, scores=torch.linspace(1, 0.5, num))
        net.rpn.proposals = lambda *args, found=found, **kwargs: [found]
        (window,) = windows(SHAPE, SHAPE, 0)
        with torch.no_grad():
            empty = torch.zeros(1, *SHAPE)
            ((_, image, features),) = net._look(empty, [window])
            seen = net._screen(image, features)
            with HostSyncs() as syncs:
                marks = net._marks(seen, window)
        assert len(marks) == num
        assert all(mask is not None for mask in marks.masks)
        counts.append(syncs.count)

    assert counts[0] == counts[1] > 0


def test_a_validation_window_is_screened_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = narrow_net(test_cfg={'window': SHAPE}).eval()
    calls: list[int] = []
    forward = net.rpn.forward

    def count(feature: torch.Tensor) -> tuple:
        calls.append(1)
        return forward(feature)

    monkeypatch.setattr(net.rpn, 'forward', count)
    sample = sample_of([NODULE])
    net.predict_case(torch.zeros(1, *SHAPE, dtype=torch.int16), sample)

    assert set(sample.losses) == LOSSES
    assert len(calls) == 1


def test_validation_losses_are_those_of_the_windows_with_nodules() -> None:
    net = narrow_net().eval()
    case = torch.randint(-1000, 200, (1, 32, 32, 48), dtype=torch.int16)
    # at 40..46 the nodule is whole in the window from x = 16 alone; the one
    # at 10 is in the other, and 3 voxels from the face of neither
    sample = sample_of(
        [[10, 10, 10, 18, 18, 18], [12, 12, 40, 18, 18, 46]],
        ignored=[[1, 1, 1, 5, 5, 5]],
    )

    torch.manual_seed(3)
    net.predict_case(case, sample)

    torch.manual_seed(3)
    wanted = []
    crops = (
        (0, sample_of([[10, 10, 10, 18, 18, 18]], [[1, 1, 1, 5, 5, 5]])),
        # the first one's centre is 2 voxels outside: an ignored region
        (16, sample_of([[12, 12, 24, 18, 18, 30]], [[10, 10, -6, 18, 18, 2]])),
    )
    for start, target in crops:
        target.gt_masks = sample.gt_masks[:, :, start : start + 32]
        if start:
            target.gt_instances.ids = torch.tensor([2])
        window = case[..., start : start + 32]
        image = net.data_preprocessor.apply_window(window[None])
        features = net.extract(image)
        # the marks draw nothing, so the same draws follow
        seen = net._screen(image, features)
        wanted.append(net._head_losses(seen, [target]))
    assert set(sample.losses) == set(wanted[0]) == set(wanted[1])
    for name, value in sample.losses.items():
        mean = sum(float(loss[name].detach()) for loss in wanted) / 2
        assert value == pytest.approx(mean, rel=1e-5), name
    assert sample.losses['loss_rpn_cls'] > 0


def test_marks_do_not_depend_on_how_many_windows_run_together() -> None:
    net = narrow_net().eval()
    torch.manual_seed(5)
    case = torch.randint(-1000, 200, (1, 40, 50, 60), dtype=torch.int16)

    net.test_cfg['windows_at_once'] = 1
    alone = net.predict_case(case)
    net.test_cfg['windows_at_once'] = 5
    together = net.predict_case(case)

    assert len(alone.bboxes) > 0
    torch.testing.assert_close(together.bboxes, alone.bboxes)
    torch.testing.assert_close(together.scores, alone.scores)
