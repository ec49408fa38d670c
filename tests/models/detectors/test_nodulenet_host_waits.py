"""A training step waits a few times for the GPU, whatever the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.models import FocalLoss3D, NoduleNet
from lungdet.models.views import FLIPS
from tests.models.nets import LOSSES, NODULE, SHAPE, narrow_net, sample_of
from tests.pretend_cuda import PretendCuda, to_pretended_gpu

STRONG = {
    'rpn': {
        'assigner': {'type': 'CenterAssigner3D'},
        'sampler': {'pos_per_gt': None, 'num_neg': None},
        'proposals': {'score_thr': 0.3, 'nms_pre': 50, 'max_num': 20},
    },
    'rcnn': {'assigner': {'type': 'DistanceAssigner3D'}},
}
RECIPES = {'base': {}, 'strong': {'train_cfg': STRONG}}
# the losses and the norm of the gradients are read once more by the runner
MOST = 8


def net_on_gpu(recipe: str, **changes: Any) -> NoduleNet:
    net = narrow_net(**RECIPES[recipe], **changes)
    if recipe == 'strong':
        net.rpn_head.loss_cls = FocalLoss3D()
    return to_pretended_gpu(net)


def batch(num: int) -> dict[str, list]:
    """Crops in HU, every second with a nodule."""
    generator = torch.Generator().manual_seed(0)
    return {
        'inputs': [
            torch.randint(
                -1000, 100, (1, *SHAPE), dtype=torch.int16, generator=generator
            )
            for _ in range(num)
        ],
        'data_samples': [
            sample_of([] if k % 2 else [NODULE]) for k in range(num)
        ],
    }


def step(net: NoduleNet, num: int) -> tuple[dict[str, Any], list[str]]:
    """Losses of a batch, and the waits until then."""
    net.train()
    with PretendCuda() as gpu:
        net.data_preprocessor.to('cuda')
        data = net.data_preprocessor(batch(num), training=True)
        losses = net(**data, mode='loss')
        net.parse_losses(losses)
    return losses, gpu.waits


@pytest.mark.parametrize('recipe', RECIPES)
def test_waits_of_a_training_step_do_not_grow_with_the_batch(
    recipe: str,
) -> None:
    waits = {num: step(net_on_gpu(recipe), num)[1] for num in (2, 4)}

    assert len(waits[4]) <= MOST, waits[4]
    assert len(waits[4]) == len(waits[2])


def test_losses_are_those_of_the_cpu() -> None:
    on_gpu, net = net_on_gpu('base'), narrow_net().train()
    torch.manual_seed(5)
    losses, _ = step(on_gpu, 2)
    torch.manual_seed(5)

    wanted = net(**net.data_preprocessor(batch(2), training=True), mode='loss')

    assert set(losses) == LOSSES
    for name in LOSSES:
        assert float(losses[name].detach()) == pytest.approx(
            float(wanted[name].detach()), rel=1e-5
        )


@pytest.mark.parametrize(('views', 'most'), [(1, 12), (2, 16)])
def test_waits_of_windows_do_not_grow_with_their_number(
    views: int, most: int
) -> None:
    waits = {}
    for num in (1, 4):
        net = net_on_gpu('base').eval()
        with PretendCuda() as gpu, torch.no_grad():
            images = torch.zeros(num, 1, *SHAPE).to('cuda', non_blocking=True)
            cores = torch.tensor([[0.0, 0, 0, *SHAPE]]).repeat(num, 1)
            detections = net.predict_owned(images, cores, FLIPS[views])
        waits[num] = gpu.waits
        assert all(
            d.bboxes.device.type == 'cpu' and len(d) for d in detections
        )

    assert len(waits[4]) <= most, waits[4]
    assert len(waits[4]) == len(waits[1])


def test_candidates_are_scored_on_a_gpu() -> None:
    """They had come with the samples to the GPU, and indexed CPU tensors."""
    sample = DetDataSample()
    boxes = torch.tensor([NODULE, [90.0] * 3 + [99.0] * 3]).double()
    case = torch.zeros(1, *SHAPE, dtype=torch.int16)
    for is_there in (False, True):
        net = net_on_gpu('base').eval()
        with PretendCuda():
            net.data_preprocessor.to('cuda')
            sample.candidates = InstanceData(
                bboxes=boxes.to('cuda') if is_there else boxes
            )
            data = net.data_preprocessor(
                {'inputs': [case], 'data_samples': [sample]}
            )
            (filled,) = net(**data, mode='predict')

        scores = filled.pred_instances.scores
        assert scores[0] > 0 and scores[1] == 0


def test_a_case_is_validated_on_a_gpu() -> None:
    net = net_on_gpu('base').eval()
    case = torch.zeros(1, *SHAPE, dtype=torch.int16)
    with PretendCuda():
        net.data_preprocessor.to('cuda')
        (filled,) = net([case], [sample_of([NODULE])], mode='predict')

    assert set(filled.losses) == LOSSES
    assert len(filled.pred_instances)
