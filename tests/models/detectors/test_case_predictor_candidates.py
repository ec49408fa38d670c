from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lungdet.apis import load_config
from lungdet.errors import ConfigError
from lungdet.models.plugins import SE3D
from lungdet.ops import box_centers
from lungdet.registry import build_model

CONFIGS = Path(__file__).parents[3] / 'configs'


@pytest.fixture
def model() -> torch.nn.Module:
    """A narrow net with random weights whose proposals all pass."""
    config = load_config(
        CONFIGS / 'nodulenet_demo.py',
        {
            'model.backbone.stem_channels': 4,
            'model.backbone.channels': [4, 8, 8, 8, 8, 8],
            'model.rpn_head.in_channels': 8,
            'model.rpn_head.feat_channels': 8,
            'model.roi_head.bbox_head.in_channels': 8,
            'model.roi_head.mask_head.in_channels': 8,
            'model.channels_last': False,
            'model.test_cfg.window': [32, 32, 32],
            'model.test_cfg.overlap': 16,
            'model.test_cfg.bf16': False,
            'model.test_cfg.rpn.score_thr': 0.0,
            'model.test_cfg.postprocess.box_source': 'rpn',
        },
    )
    torch.manual_seed(3)
    net = build_model(config.model)
    return net.eval()


def test_scores_are_those_of_the_detections(
    model: torch.nn.Module,
) -> None:
    # 44 voxels along z: two windows from 0 and 12, cores meet at 22
    generator = torch.Generator().manual_seed(5)
    case = torch.randn(1, 44, 28, 32, generator=generator) * 300 - 500
    detections = model.predict_case(case)
    middle = box_centers(detections.bboxes)[:, 0]
    # at the seam both windows keep one, and either may have survived
    clear = (middle - 22).abs() > 2
    assert clear.sum() > 10

    again = model.case_predictor().score(case, detections.bboxes[clear])

    torch.testing.assert_close(
        again, detections.rcnn_scores[clear], rtol=0, atol=1e-6
    )
    assert again.std() > 1e-4


def test_boxes_outside_the_case_score_nothing(
    model: torch.nn.Module,
) -> None:
    case = torch.full((1, 20, 24, 28), -700.0)
    boxes = torch.tensor(
        [
            [8.0, 8, 8, 14, 14, 14],
            [-9, 8, 8, -3, 14, 14],
            [8, 8, 26, 14, 14, 32],
        ]
    ).double()

    scores = model.case_predictor().score(case, boxes)

    assert scores[0] > 0 and scores[1:].tolist() == [0, 0]
    assert len(model.case_predictor().score(case, boxes[:0])) == 0


def test_other_windows_than_the_crops_are_warned_of(
    model: torch.nn.Module,
) -> None:
    """As in a search: gates that pool get another amount of space."""
    model.backbone.add_module('gate', SE3D(8))
    box = torch.tensor([[8.0, 8, 8, 14, 14, 14]])

    with pytest.warns(UserWarning, match='SE3D pools over the whole window'):
        model.case_predictor().score(torch.full((1, 32, 32, 32), -700.0), box)


def test_a_roi_head_that_has_not_started_scores_nothing(
    model: torch.nn.Module,
) -> None:
    model.set_epoch(1)
    box = torch.tensor([[2.0, 2, 2, 6, 6, 6]])

    with pytest.raises(ConfigError, match='has not started'):
        model.case_predictor().score(torch.zeros(1, 8, 8, 8), box)
