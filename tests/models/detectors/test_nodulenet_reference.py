"""configs/nodulenet_reference.py runs, and differs where it says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lungdet.apis import load_config
from lungdet.datasets import LUNA16Dataset
from lungdet.geometry import Geometry, box_of_mask
from lungdet.io.case_store import rebuild_index, write_case
from lungdet.models import NoduleNet
from lungdet.models.views import View
from lungdet.registry import build_model
from lungdet.structures import CaseNodule, CaseRecord
from tests.models.nets import SHAPE, sample_of
from tests.oracles.reference import index_form, vectors

CONFIGS = Path(__file__).parents[3] / 'configs'
NARROW = {
    '+model.backbone.stem_channels': 4,
    '+model.backbone.channels': (4, 8, 8, 8, 8, 8),
    '+model.backbone.blocks': (1, 1, 1, 1, 1, 1),
    '+model.rpn_head.in_channels': 8,
    '+model.roi_head.bbox_head.in_channels': 8,
    '+model.roi_head.bbox_head.fc_channels': (16, 8),
    '+model.roi_head.mask_head.in_channels': 8,
    '+model.roi_head.mask_head.skip_channels': 4,
    '+model.roi_head.mask_head.channels': 4,
}


def narrow(name: str) -> NoduleNet:
    config = load_config(CONFIGS / f'{name}.py', NARROW)
    torch.manual_seed(0)
    return build_model(config.model)


def test_training_step_of_all_heads() -> None:
    net = narrow('nodulenet_reference').train()
    bbox_head = net.roi_head.bbox_head
    torch.nn.init.constant_(bbox_head.logit.bias[1:], 5)  # detections
    image = torch.randn(2, 1, *SHAPE)
    # the second nodule of the first crop has no voxels in the mask
    samples = [
        sample_of([[6, 6, 6, 22, 22, 22], [16, 16, 30, 28, 28, 42]]),
        sample_of([]),
    ]

    losses = net(image, samples, mode='loss')
    sum(losses.values()).backward()

    for name, loss in losses.items():
        assert torch.isfinite(loss) and float(loss.detach()) > 0, name
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_crops_without_nodules_teach_the_reference_nothing() -> None:
    image, samples = torch.randn(2, 1, *SHAPE), [sample_of([])] * 2

    losses = {
        name: narrow(f'nodulenet_{name}').train()(image, samples, mode='loss')
        for name in ('reference', 'base')
    }

    assert float(losses['reference']['loss_rpn_cls'].detach()) == 0
    assert float(losses['base']['loss_rpn_cls'].detach()) > 0.1


def test_one_positive_a_crop() -> None:
    gt = torch.tensor([[4.0, 4, 4, 16, 16, 16], [18, 18, 18, 30, 30, 30]])

    positives = {}
    for name in ('reference', 'base'):
        rpn_head = narrow(f'nodulenet_{name}').rpn_head
        anchors = rpn_head.prior_generator.grid_anchors((8, 8, 8))
        roles = rpn_head.get_targets(anchors, gt)
        positives[name] = int(roles.positive.sum())

    assert positives == {'reference': 1, 'base': 2}


def test_whole_volume_inference() -> None:
    net = narrow('nodulenet_reference').eval()
    images: list[torch.Tensor] = []
    net.backbone.register_forward_pre_hook(lambda _, x: images.append(x[0]))
    case = torch.full((1, 33, 44, 48), 100, dtype=torch.int16)
    # two of five sizes pass the threshold: NMS of thousands takes seconds
    bias = torch.tensor([-50, -50, -50, 0.1, 0.1])
    net.rpn_head.logits.bias.data.copy_(bias)

    detections = net.predict_case(case)

    (image,) = images
    assert image.shape == (1, 1, 48, 48, 48)
    assert (image[0, 0, 33:] == -1).all() and (image[0, 0, :, 44:] == -1).all()
    with torch.no_grad():
        (proposals,) = net.rpn_head.predict([View(net.extract_feat(image))])
    assert len(detections) > 1
    # the proposals' boxes, in the order of the fused scores
    rows = {tuple(box) for box in proposals.bboxes.tolist()}
    assert {tuple(box) for box in detections.bboxes.tolist()} <= rows
    torch.testing.assert_close(
        detections.scores,
        (detections.rpn_scores + detections.rcnn_scores) / 2,
    )
    assert (detections.rpn_scores > 0.5).all()


@pytest.fixture
def vector_store(tmp_path: Path) -> Path:
    """A case with the three masks of the vector ``masks_to_boxes``."""
    stored = vectors()['masks_to_boxes']
    grid = Geometry.from_parts(
        stored['shape'], spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    mask = np.zeros(stored['shape'], dtype=np.uint8)
    nodules = []
    for k, (z1, z2, y1, y2, x1, x2) in enumerate(stored['half_open'], 1):
        mask[z1:z2, y1:y2, x1:x2] = k
        box = tuple(box_of_mask(mask == k).tolist())
        (center,) = grid.box_center_world(np.array([box]))
        nodules.append(
            CaseNodule(k, tuple(center.tolist()), 4.0, box, has_mask=True)
        )
    record = CaseRecord('1.1', 0, grid, grid, 1.0, nodules, [], 'computed')
    write_case(
        tmp_path,
        record,
        {
            'image': np.zeros(grid.shape, np.int16),
            'mask': mask,
            'lungs': np.ones(grid.shape, np.uint8),
        },
    )
    rebuild_index(tmp_path)
    return tmp_path


def test_boxes_are_those_of_the_masks_and_8_longer(vector_store: Path) -> None:
    stored = vectors()['masks_to_boxes']
    config = load_config(CONFIGS / 'nodulenet_reference.py')
    load = config.train_dataloader.dataset.pipeline[-2]

    sample = LUNA16Dataset(
        vector_store,
        'train',
        pipeline=[
            {'type': 'PlaceCrop', 'size': (48, 48, 48), 'margin': 12},
            {**load, 'min_inside': 0},
            {'type': 'PackDetInputs'},
        ],
        test_subsets=(),
    )[0]['data_samples']

    boxes = index_form(sample.gt_instances.bboxes)
    wanted = np.array(stored['boxes'])
    np.testing.assert_allclose(boxes[:, 3:], wanted[:, 3:6])
    gaps = boxes[:, :3] - wanted[:, :3]  # the corner of the crop
    np.testing.assert_allclose(gaps, gaps[:1].repeat(3, axis=0), atol=1e-4)
