"""The whole network against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.models import NoduleNet
from lungdet.models.detectors.case_windows import case_windows, crop_window
from tests.oracles.reference import (
    PARTS,
    check,
    edges,
    filled_state,
    golden_input,
    live_entries,
    lungdet_name,
    published_entry,
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
