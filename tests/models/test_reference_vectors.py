"""NoduleNet against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.models import (
    AnchorGenerator3D,
    AnchorSampler3D,
    DeltaBoxCoder3D,
    FeatureNet,
    HardNegativeBCE,
    MaxIoUAssigner3D,
    NoduleNet,
    RCNN3DHead,
    RPN3DHead,
)
from lungdet.models.detectors import nodulenet
from lungdet.models.losses import (
    balanced_cross_entropy,
    smooth_l1_per_coordinate,
    soft_dice_loss,
)
from lungdet.models.roi_heads import mask_boxes
from lungdet.ops import box_iou, clip_box_centers, nms, roi_crop_pool
from lungdet.ops.roi_pool import roi_cells
from tests.oracles.reference import (
    check,
    edges,
    filled_state,
    golden_input,
    index_form,
    u,
    v,
    vectors,
)


def make_net(**changes: object) -> NoduleNet:
    return NoduleNet(
        {'type': 'FeatureNet'},
        {'type': 'RPN3DHead'},
        rcnn_head={'type': 'RCNN3DHead'},
        mask_head={'type': 'Mask3DHead'},
        **changes,
    )


def test_parameter_counts() -> None:
    net = make_net()

    counts = {
        name: sum(p.numel() for p in child.parameters())
        for name, child in net.named_children()
    }

    assert counts['backbone'] == 5_346_872
    assert counts['rpn'] == 10_531
    assert counts['rcnn_head'] == 11_374_862
    assert counts['mask_head'] == 610_817
    assert sum(counts.values()) == 17_343_082


def test_state_dict_names_and_shapes_are_the_published_ones() -> None:
    own = {k: list(t.shape) for k, t in make_net().state_dict().items()}

    assert own == {k: list(t.shape) for k, t in filled_state().items()}


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

    np.testing.assert_allclose(deltas, stored[key], atol=1e-12)
    np.testing.assert_allclose(coder.decode(anchors, deltas), gt, atol=1e-12)


def test_clip_box_centers() -> None:
    stored = vectors()['clip_center']

    clipped = clip_box_centers(edges(stored['boxes']), stored['img'])

    np.testing.assert_allclose(index_form(clipped), stored['clipped'])


def test_iou_including_touching_nested_and_empty() -> None:
    stored = vectors()['iou']
    wanted = np.array(stored['float64'], dtype=np.float64)  # null -> nan

    found = box_iou(edges(stored['A']), edges(stored['B'])).numpy()

    np.testing.assert_allclose(found, np.nan_to_num(wanted), atol=1e-12)


def test_nms() -> None:
    stored = vectors()['nms']
    dets = np.array(stored['dets'])
    for thr, keep in stored['keep'].items():
        if not thr[0].isdigit():
            continue
        found = nms(
            edges(dets[:, 1:]), torch.from_numpy(dets[:, 0]), float(thr)
        )
        assert sorted(found.tolist()) == sorted(keep['python_float64'])
        assert np.all(np.diff(dets[found.numpy(), 0]) <= 0)


def test_roi_crop_cells_and_features() -> None:
    stored = vectors()['roi_crop']
    boxes = edges(stored['boxes'])
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    feature = torch.from_numpy(u(0, np.arange(2 * 8 * 12 * 16)))
    feature = feature.view(1, 2, 8, 12, 16)

    low, high = roi_cells(rois, (8, 12, 16), 4)
    pooled = roi_crop_pool(feature, rois)

    assert low.tolist() == stored['c0']
    assert high.tolist() == stored['c1']
    check(pooled, stored['pooled'])


@pytest.mark.parametrize('case', range(6))
def test_rpn_candidates_and_negatives(case: int) -> None:
    stored = vectors()['rpn_target']['cases'][case]
    anchors = AnchorGenerator3D().grid_anchors(
        [n // 4 for n in stored['input_shape']], dtype=torch.float64
    )
    gt = edges(stored['gt']) if stored['gt'] else torch.zeros(0, 6).double()
    outside = stored['name'] == 'outside'
    assigner = MaxIoUAssigner3D(force_without_overlap=outside)

    assigned = assigner.assign(anchors, gt)

    if 'positive_candidates_index_gt' in stored and not outside:
        inds = torch.nonzero(assigned.positive).flatten()
        found = [[int(i), int(assigned.gt_inds[i])] for i in inds]
        assert found == stored['positive_candidates_index_gt']
        negative = torch.nonzero(assigned.negative).flatten()
        assert len(negative) == stored['valid']['n_bg']
        assert int(negative.sum()) == stored['valid']['bg_index_sum']


def test_forced_match_needs_overlap() -> None:
    anchors = AnchorGenerator3D().grid_anchors((4, 4, 6))
    far = torch.tensor([[500.0, 500, 500, 510, 510, 510]])

    repaired = MaxIoUAssigner3D().assign(anchors, far)
    published = MaxIoUAssigner3D(force_without_overlap=True).assign(
        anchors, far
    )

    assert not repaired.positive.any()
    assert repaired.negative.all()
    assert published.positive.all()


def test_one_positive_per_crop_or_per_nodule() -> None:
    anchors = AnchorGenerator3D().grid_anchors((8, 8, 8))
    gt = torch.tensor([[4.0, 4, 4, 16, 16, 16], [18, 18, 18, 30, 30, 30]])
    assigned = MaxIoUAssigner3D().assign(anchors, gt)

    counts = {
        kind: int(AnchorSampler3D(kind).sample(assigned, True).positive.sum())
        for kind in ('crop', 'gt', 'all')
    }

    assert counts['crop'] == 1
    assert counts['gt'] == 2
    assert counts['all'] == int(assigned.positive.sum()) > 2


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
    box = smooth_l1_per_coordinate(deltas[positive], targets[positive])

    assert float(cls) == pytest.approx(stored[mode]['cls'], rel=1e-9)
    assert float(box) == pytest.approx(stored[mode]['reg'], rel=1e-9)


def test_rpn_loss_without_positives_is_finite_and_learns() -> None:
    logits = torch.zeros(20, dtype=torch.float64, requires_grad=True)
    none = torch.zeros(20, dtype=torch.bool)

    loss = HardNegativeBCE(min_hard=3)(logits, none, ~none)
    loss.backward()

    assert loss.item() == pytest.approx(0.5 * np.log(2))
    assert int((logits.grad > 0).sum()) == 3


def test_loss_gradient_survives_a_large_logit() -> None:
    logits = torch.tensor([40.0], requires_grad=True)
    one = torch.ones(1, dtype=torch.bool)

    (HardNegativeBCE()(logits, ~one, one) * 2).backward()

    assert float(logits.grad) == pytest.approx(1.0)


def test_rcnn_loss() -> None:
    stored = vectors()['rcnn_loss']
    labels = torch.tensor(stored['labels'])
    deltas = torch.tensor(stored['deltas'], dtype=torch.float64)
    own = deltas.view(-1, 2, 6)[labels > 0, 1]
    targets = torch.tensor(stored['targets'], dtype=torch.float64)

    cls = balanced_cross_entropy(
        torch.tensor(stored['logits'], dtype=torch.float64), labels
    )

    assert float(cls) == pytest.approx(stored['cls'], rel=1e-9)
    assert float(smooth_l1_per_coordinate(own, targets)) == pytest.approx(
        stored['reg'], rel=1e-9
    )


def test_rcnn_sampling_labels() -> None:
    stored = vectors()['rcnn_target']
    head = RCNN3DHead().train()
    found = InstanceData(
        bboxes=edges(np.array(stored['proposals'])[:, 2:]).float()
    )
    gt = edges(stored['gt']).float()

    batch = head.sample([found], [gt], [torch.zeros(0, 6)])

    assert len(batch.rois) == stored['n_sampled']
    assert sorted(batch.labels.tolist(), reverse=True) == stored['labels']


def test_true_boxes_join_the_proposals_in_training_only() -> None:
    gt = torch.tensor([[10.0, 10, 10, 20, 20, 20]])
    none = InstanceData(bboxes=torch.zeros(0, 6))
    empty = [torch.zeros(0, 6)]

    trained = RCNN3DHead().train().sample([none], [gt], empty)
    validated = RCNN3DHead().eval().sample([none], [gt], empty)

    assert trained.rois[:, 1:].tolist() == gt.tolist()
    assert len(validated.rois) == 0


def test_rcnn_detections() -> None:
    stored = vectors()['rcnn_nms']
    proposals = np.array(stored['proposals'])
    rois = torch.cat(
        [torch.zeros(len(proposals), 1).double(), edges(proposals[:, 2:])], 1
    )
    deltas = torch.zeros(len(proposals), 12).double()
    deltas[:, 6:] = torch.tensor(stored['deltas_class1'])
    head = RCNN3DHead(bbox_coder={'type': 'DeltaBoxCoder3D'})
    for mode, thr in (('train', 0.5), ('eval', 0.0)):
        found = head.detections(
            rois,
            torch.tensor(stored['logits'], dtype=torch.float64),
            deltas,
            img_shape=tuple(stored['img']),
            cfg={'score_thr': thr, 'nms_thr': 0.1},
        )
        wanted = np.array(stored[mode]['detections'])
        np.testing.assert_allclose(
            index_form(found[:, 1:]), wanted[:, 2:8], atol=1e-4
        )


def test_rpn_proposals() -> None:
    stored = vectors()['rpn_nms']
    cells = [n // 4 for n in stored['input_shape']]
    num = int(np.prod(cells)) * 5
    logits = torch.from_numpy(3 * v(0, np.arange(num)))[None]
    deltas = torch.from_numpy(0.3 * v(0, np.arange(num * 6))).view(1, num, 6)
    head = RPN3DHead(bbox_coder={'type': 'DeltaBoxCoder3D'})

    (found,) = head.proposals(
        logits,
        deltas,
        anchors=head.anchors.grid_anchors(cells, dtype=torch.float64),
        img_shape=tuple(stored['input_shape']),
        cfg={'score_thr': 0.5, 'nms_thr': 0.1},
    )

    assert len(found.bboxes) == stored['n_keep']
    wanted = np.array(stored['first'])
    np.testing.assert_allclose(found.scores[:5], wanted[:, 1], atol=1e-6)
    np.testing.assert_allclose(
        index_form(found.bboxes[:5]), wanted[:, 2:8], atol=1e-5
    )


def test_mask_boxes_published_and_repaired() -> None:
    stored = vectors()['mask_boxes']
    boxes = edges(stored['center'])
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)

    published = mask_boxes(rois, stored['img'], truncate=True)
    repaired = mask_boxes(rois, stored['img'])

    assert published[:, 1:].tolist() == stored['crop']
    low, high = repaired[:, 1:4], repaired[:, 4:]
    assert ((high - low) >= 4).all()
    inside = torch.minimum(boxes[:, 3:], torch.tensor(stored['img']))
    assert (high >= inside).all()
    assert (low <= boxes[:, :3].clamp(min=0)).all()


def test_mask_loss() -> None:
    stored = vectors()['mask_loss']
    shape = tuple(stored['shape'])
    logits = torch.from_numpy(4 * v(0, np.arange(np.prod(shape))))
    z1, z2, y1, y2, x1, x2 = stored['target_box']
    target = torch.zeros(shape).double()
    target[z1:z2, y1:y2, x1:x2] = 1

    loss = soft_dice_loss(logits.view(shape), target)

    assert float(loss) == pytest.approx(stored['loss_binary'], rel=1e-9)


def test_second_nodule_of_a_crop_is_trained_too() -> None:
    """Published: only boxes that hold component number 1 count."""
    from lungdet.models import Mask3DHead

    stored = vectors()['mask_loss']
    shape = tuple(stored['shape'])
    logits = torch.from_numpy(4 * v(0, np.arange(np.prod(shape)))).view(shape)
    z1, z2, y1, y2, x1, x2 = stored['target_box']
    labels = torch.zeros(shape, dtype=torch.uint8)
    labels[z1:z2, y1:y2, x1:x2] = 2
    boxes = torch.tensor([[0, 0, 0, 0, *shape]])
    losses = {
        target: float(
            Mask3DHead(target=target).loss(
                [logits], boxes, [labels], torch.tensor([2])
            )['loss_mask']
        )
        for target in ('instance', 'component')
    }

    assert losses['instance'] == pytest.approx(stored['loss_binary'], rel=1e-9)
    assert losses['component'] == stored['loss_label2'] == 0


@pytest.fixture(scope='module')
def golden_net() -> NoduleNet:
    net = make_net().double()
    net.load_state_dict(filled_state())
    return net


def golden_forward(net: NoduleNet) -> dict[str, torch.Tensor]:
    stored = vectors()['golden']
    image = golden_input()
    out1, out2, comb2 = net.extract(image)
    logits, deltas = net.rpn(comb2)
    rois = np.array(stored['rois'])
    boxes = torch.cat(
        [torch.from_numpy(rois[:, :1]), edges(rois[:, 1:])], dim=1
    )
    pooled = net.rcnn_head.extractor(out2, boxes)
    cls, box = net.rcnn_head(pooled)
    masks = net.mask_head(
        image, out1, comb2, torch.tensor(stored['mask_boxes'])
    )
    cells = (2, 8, 12, 16, 5)
    return {
        'out1': out1,
        'out2': out2,
        'comb2': comb2,
        'rpn_logits': logits.view(*cells, 1),
        'rpn_deltas': deltas.view(*cells, 6),
        'roi_pooled': pooled,
        'rcnn_logits': cls,
        'rcnn_deltas': box,
        **{f'mask{k}': mask for k, mask in enumerate(masks)},
    }


@pytest.mark.slow
def test_golden_forward_and_backward(golden_net: NoduleNet) -> None:
    stored = vectors()['golden']
    with torch.no_grad():
        for name, found in golden_forward(golden_net.eval()).items():
            check(found, stored['eval'][name] | {'shape': list(found.shape)})

    out = golden_forward(golden_net.train())
    for name, found in out.items():
        check(found, stored['train'][name] | {'shape': list(found.shape)})
    for name, wanted in stored['running_after_train'].items():
        own = name.replace('feature_net.', 'backbone.')
        check(golden_net.state_dict()[own], wanted)

    loss = sum(
        (out[name] ** 2).mean()
        for name in (
            'rpn_logits',
            'rpn_deltas',
            'rcnn_logits',
            'rcnn_deltas',
            'mask0',
            'mask1',
            'mask2',
        )
    )
    loss.backward()
    assert loss.item() == pytest.approx(stored['train_loss'], rel=1e-9)
    grads = dict(golden_net.named_parameters())
    for name, wanted in stored['grads'].items():
        own = name.replace('feature_net.', 'backbone.')
        check(grads[own].grad, wanted, tol=1e-7)


def test_input_sides_are_checked() -> None:
    with pytest.raises(ValueError, match='multiples of 16'):
        FeatureNet()(torch.zeros(1, 1, 40, 32, 32))
    with pytest.raises(ValueError, match='32 or more'):
        FeatureNet().train()(torch.zeros(1, 1, 16, 16, 16))


def sample_of(
    boxes: list, ignored: list = (), ids: bool = True
) -> DetDataSample:
    sample = DetDataSample()
    num = len(boxes)
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 6),
        labels=torch.ones(num, dtype=torch.long),
        ids=torch.arange(1, num + 1),
        has_mask=torch.full((num,), ids),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.tensor(list(ignored), dtype=torch.float32).view(-1, 6)
    )
    sample.gt_masks = torch.zeros(32, 32, 48, dtype=torch.uint8)
    sample.gt_masks[10:18, 10:18, 10:18] = 1
    return sample


NARROW = {
    'stem_channels': 4,
    'channels': (4, 8, 8, 8, 8, 8),
    'blocks': (1, 1, 1, 1, 1, 1),
}


def narrow_net() -> NoduleNet:
    torch.manual_seed(0)
    return NoduleNet(
        {'type': 'FeatureNet', **NARROW},
        {'type': 'RPN3DHead', 'in_channels': 8, 'feat_channels': 8},
        rcnn_head={
            'type': 'RCNN3DHead',
            'in_channels': 8,
            'fc_channels': (16, 8),
        },
        mask_head={
            'type': 'Mask3DHead',
            'in_channels': 8,
            'skip_channels': 4,
            'channels': 4,
        },
        test_cfg={
            'window': (32, 32, 32),
            'overlap': 16,
            'mask': {'score_thr': 0.0},
        },
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

    assert set(losses) == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        'loss_rcnn_cls',
        'loss_rcnn_bbox',
        'loss_mask',
    }
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


def test_nodule_without_mask_gives_no_mask_loss() -> None:
    net = narrow_net().train()
    image = torch.randn(1, 1, 32, 32, 48)

    losses = net(
        image, [sample_of([[10, 10, 10, 18, 18, 18]], ids=False)], mode='loss'
    )

    assert float(losses['loss_mask'].detach()) == 0


def test_ignored_region_is_no_negative_and_never_beats_a_positive() -> None:
    anchors = AnchorGenerator3D().grid_anchors((8, 8, 8))
    gt = torch.tensor([[8.0, 8, 8, 20, 20, 20]])
    region = torch.tensor([[0.0, 0, 0, 16, 16, 16]])

    plain = MaxIoUAssigner3D().assign(anchors, gt)
    found = MaxIoUAssigner3D().assign(anchors, gt, region)

    centers = (anchors[:, :3] + anchors[:, 3:]) / 2
    inside = (centers < 16).all(1)
    assert torch.equal(found.positive, plain.positive)
    assert not (found.negative & inside).any()
    assert torch.equal(found.negative[~inside], plain.negative[~inside])


def test_bf16_losses_stay_near_float32() -> None:
    net = narrow_net().train()
    image, samples = (
        torch.randn(2, 1, 32, 32, 48),
        [sample_of([[10, 10, 10, 18, 18, 18]]), sample_of([])],
    )
    net.set_epoch(1)  # the second stage's draws differ by tiny score changes

    exact = net(image, samples, mode='loss')
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        rough = net(image, samples, mode='loss')

    assert rough['loss_rpn_bbox'].dtype == torch.float32
    for name in exact:
        assert float(rough[name].detach()) == pytest.approx(
            float(exact[name].detach()), rel=0.1
        )


def test_scan_without_proposals_gives_empty_results() -> None:
    net = narrow_net().eval()
    torch.nn.init.constant_(net.rpn.logits.bias, -50)

    found = net.predict_case(torch.zeros(1, 40, 30, 50, dtype=torch.int16))

    assert found.bboxes.shape == (0, 6)
    assert found.masks == []


def test_mark_at_a_seam_is_kept_once_and_none_lies_outside() -> None:
    """Windows that place one mark on both sides of their seam lose nothing."""
    net = narrow_net().eval()
    calls: list[tuple] = []

    def one_mark(
        image: torch.Tensor, features: object, window: object
    ) -> list:
        calls.append(window.start)
        # each window sees the nodule at x = 24, itself a voxel off
        x = 24 + (1 if window.start[2] == 0 else -1) * 0.9
        center = torch.tensor([16.0, 10.0, x])
        low = torch.tensor(window.core_low) - nodulenet.SEAM
        high = torch.tensor(window.core_high) + nodulenet.SEAM
        marks = []
        if ((center >= low) & (center < high)).all():
            marks.append(
                {
                    'box': torch.cat([center - 4, center + 4]),
                    'score': 0.9,
                    'rpn': 0.9,
                    'rcnn': 0.9,
                    'mask': None,
                }
            )
        far = torch.tensor([16.0, 31.0, 10.0])  # in the padding of the case
        marks.append(
            {
                'box': torch.cat([far - 2, far + 2]),
                'score': 0.8,
                'rpn': 0.8,
                'rcnn': 0.8,
                'mask': None,
            }
        )
        return marks

    net._marks = one_mark

    found = net.predict_case(torch.zeros(1, 32, 20, 48, dtype=torch.int16))

    assert calls == [(0, 0, 0), (0, 0, 16)]
    assert len(found.bboxes) == 1
    assert float(found.scores[0]) == pytest.approx(0.9)


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
        wanted.append(net._head_losses(image, features, [target]))
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
