"""NoduleNet against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.models import (
    AnchorGenerator3D,
    BalancedCrossEntropy,
    BBox3DHead,
    DeltaBoxCoder3D,
    DetectionPostProcessor,
    HardNegativeBCE,
    Mask3DHead,
    NoduleNet,
    NoduleRoIHead,
    PublishedAssigner3D,
    PublishedMask3DHead,
    PublishedRoIHead,
    RPN3DHead,
    SmoothL1BoxLoss,
)
from lungdet.models.detectors.case_windows import case_windows, crop_window
from lungdet.ops import box_iou, clip_box_centers, nms, roi_crop_pool
from lungdet.ops.roi_pool import roi_cells
from tests.oracles.reference import (
    PARTS,
    check,
    edges,
    filled_state,
    golden_input,
    index_form,
    live_entries,
    lungdet_name,
    mask_labels,
    mask_logits,
    published_entry,
    u,
    v,
    vectors,
)


def make_net(**changes: object) -> NoduleNet:
    return NoduleNet(
        {'type': 'FeatureNet'},
        {'type': 'RPN3DHead'},
        roi_head={
            'type': 'NoduleRoIHead',
            'mask_head': {'type': 'Mask3DHead'},
        },
        **changes,
    )


def test_parameter_counts() -> None:
    net = make_net()

    counts = {
        name: sum(p.numel() for p in net.get_submodule(name).parameters())
        for name in PARTS.values()
    }

    assert counts['backbone'] == 5_346_872
    assert counts['rpn_head'] == 10_531
    assert counts['roi_head.bbox_head'] == 11_374_862
    assert counts['roi_head.mask_head'] == 610_817
    assert sum(p.numel() for p in net.parameters()) == 17_343_082


def test_state_dict_names_and_shapes_are_the_published_ones() -> None:
    shapes = {k: list(t.shape) for k, t in make_net().state_dict().items()}

    assert shapes == {
        lungdet_name(name): size for _, name, size in live_entries()
    }


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


def test_clip_box_centers() -> None:
    stored = vectors()['clip_center']

    clipped = clip_box_centers(edges(stored['boxes']), stored['img'])

    np.testing.assert_allclose(index_form(clipped), stored['clipped'])


@pytest.mark.parametrize(
    ('key', 'dtype', 'atol'),
    [
        ('float64', torch.float64, 1e-12),
        ('float32_cpp', torch.float32, 1e-6),
    ],
)
def test_iou_including_touching_nested_and_empty(
    key: str, dtype: torch.dtype, atol: float
) -> None:
    stored = vectors()['iou']
    wanted = np.array(stored[key], dtype=np.float64)  # null -> nan

    iou = box_iou(edges(stored['A']).to(dtype), edges(stored['B']).to(dtype))

    assert iou.dtype == dtype
    np.testing.assert_allclose(iou, np.nan_to_num(wanted), atol=atol)


NMS_THRESHOLDS = [key for key in vectors()['nms']['keep'] if key[0].isdigit()]


@pytest.mark.parametrize('thr', NMS_THRESHOLDS)
def test_nms(thr: str) -> None:
    """Drop above the threshold (float64 code); equal scores in order."""
    stored = vectors()['nms']
    dets = np.array(stored['dets'])

    keep = nms(edges(dets[:, 1:]), torch.from_numpy(dets[:, 0]), float(thr))

    kept = stored['keep'][thr]['python_float64']
    assert keep.tolist() == sorted(kept, key=lambda k: (-dets[k, 0], k))


@pytest.mark.parametrize(
    ('key', 'rule'),
    [
        ('tie_1/3', 'python_float64'),
        ('exact_half', 'python_float64'),
        ('equal_scores', 'cpp_float32'),  # the one with a stable order
    ],
)
def test_nms_of_ties(key: str, rule: str) -> None:
    stored = vectors()['nms']['keep'][key]
    dets = np.array(stored['dets'])
    boxes = edges(dets[:, 1:])
    thr = stored.get('thr', 1 / 3)

    keep = nms(boxes, torch.from_numpy(dets[:, 0]), thr)

    assert keep.tolist() == stored[rule]
    if 'iou01' in stored:
        iou = float(box_iou(boxes[:1], boxes[1:2]))
        assert iou == pytest.approx(stored['iou01'], rel=1e-12)


def test_roi_crop_cells_and_features() -> None:
    stored = vectors()['roi_crop']
    boxes = edges(stored['boxes'])
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    feature = torch.from_numpy(u(0, np.arange(2 * 8 * 12 * 16)))
    feature = feature.view(1, 2, 8, 12, 16)

    low, high = roi_cells(rois, (8, 12, 16), 4)
    pooled = roi_crop_pool(feature, rois, output_size=7, stride=4)

    assert low.tolist() == stored['c0']
    assert high.tolist() == stored['c1']
    check(pooled, stored['pooled'])


@pytest.mark.parametrize('cells', vectors()['roi_crop']['bins_axis'])
def test_roi_crop_bins(cells: str) -> None:
    """Each bin's largest cell and, negated, its smallest: its two ends."""
    num = int(cells)
    ramp = torch.arange(num, dtype=torch.float64).view(1, 1, 1, 1, num)
    roi = torch.tensor([[0.0, 0, 0, 0, 4, 4, 4 * num]]) + 0.5
    roi[0, 0] = 0

    last = roi_crop_pool(ramp, roi, output_size=7, stride=4)[0, 0, 0, 0]
    first = -roi_crop_pool(-ramp, roi, output_size=7, stride=4)[0, 0, 0, 0]

    bins = vectors()['roi_crop']['bins_axis'][cells]
    assert torch.stack([first, last + 1], 1).tolist() == bins


RPN_CASES = {case['name']: case for case in vectors()['rpn_target']['cases']}


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


def test_rpn_proposals() -> None:
    stored = vectors()['rpn_nms']
    cells = [n // 4 for n in stored['input_shape']]
    num = int(np.prod(cells)) * 5
    logits = torch.from_numpy(3 * v(0, np.arange(num)))[None]
    deltas = torch.from_numpy(0.3 * v(0, np.arange(num * 6))).view(1, num, 6)
    head = RPN3DHead(bbox_coder={'type': 'DeltaBoxCoder3D'})

    (proposals,) = head.predict_by_feat(
        logits,
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


MASK_TARGETS = {
    'loss_binary': 1,
    'loss_label2': 2,
    'loss_empty': 0,
}


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


@pytest.mark.parametrize('side', vectors()['pad2factor'])
def test_whole_volumes_are_padded_at_the_end(side: list[int]) -> None:
    length, wanted = side
    case = torch.ones(1, length, 16, 32)

    (window,) = case_windows(case.shape[1:], None, 32)
    image = crop_window(case, window, 7)

    assert window.size == (wanted, 16, 32)
    assert (image[:, :length] == 1).all() and (image[:, length:] == 7).all()


def test_input_and_parameter_fill() -> None:
    golden = vectors()['golden']
    entries = {
        name: published_entry(k, name, shape)
        for k, name, shape in vectors()['state_dict']
        if not name.endswith('num_batches_tracked')
    }
    sums = [(entry.sum(), np.abs(entry).sum()) for entry in entries.values()]

    check(golden_input(), golden['input']['checksum'])
    stored = dict(golden['params'])
    total = stored.pop('all_float_entries')
    np.testing.assert_allclose(
        np.sum(sums, axis=0),
        [total['sum'], total['abs_sum']],
        rtol=0,
        atol=1e-9 * total['abs_sum'],
    )
    for name, wanted in stored.items():
        check(torch.from_numpy(entries[name]), wanted)


@pytest.fixture(scope='module')
def golden_net() -> NoduleNet:
    net = make_net().double()
    net.load_state_dict(filled_state())
    return net


def golden_forward(net: NoduleNet) -> dict[str, torch.Tensor]:
    stored = vectors()['golden']
    image = golden_input()
    feats = net.extract_feat(image)
    logits, deltas = net.rpn_head(feats)
    rois = np.array(stored['rois'])
    boxes = torch.cat(
        [torch.from_numpy(rois[:, :1]), edges(rois[:, 1:])], dim=1
    )
    roi_head = net.roi_head
    pooled = roi_head.bbox_roi_extractor(feats.out2, boxes)
    cls, box = roi_head.bbox_head(pooled)
    masks = roi_head.mask_head(feats, torch.tensor(stored['mask_boxes']))
    cells = (2, 8, 12, 16, 5)
    return {
        'out1': feats.out1,
        'out2': feats.out2,
        'comb2': feats.comb2,
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
        for name, value in golden_forward(golden_net.eval()).items():
            check(value, stored['eval'][name] | {'shape': list(value.shape)})

    out = golden_forward(golden_net.train())
    for name, value in out.items():
        check(value, stored['train'][name] | {'shape': list(value.shape)})
    for name, wanted in stored['running_after_train'].items():
        check(golden_net.state_dict()[lungdet_name(name)], wanted)

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
        check(grads[lungdet_name(name)].grad, wanted, tol=1e-7)
    assert not [name for name, p in grads.items() if p.grad is None]
