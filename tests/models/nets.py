"""Narrow networks and samples that the model tests share."""

from __future__ import annotations

import copy

import torch

from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.models import (
    CasePredictor,
    CTDataPreprocessor,
    DetectionPostProcessor,
    NoduleNet,
)
from lungdet.models.detectors.protocols import WindowDetector
from lungdet.models.feature_maps import FeatureMaps

SHAPE = (32, 32, 48)
# along x two windows, from 0 and 16, whose cores meet at 24
CASE = torch.zeros(1, 32, 20, 48, dtype=torch.int16)
NODULE = [10, 10, 10, 18, 18, 18]  # the mask of sample_of
LOSSES = {
    'loss_rpn_cls',
    'loss_rpn_bbox',
    'loss_rcnn_cls',
    'loss_rcnn_bbox',
    'loss_mask',
}


NARROW = {
    'backbone': {
        'type': 'FeatureNet',
        'stem_channels': 4,
        'channels': (4, 8, 8, 8, 8, 8),
        'blocks': (1, 1, 1, 1, 1, 1),
    },
    'rpn_head': {'type': 'RPN3DHead', 'in_channels': 8, 'feat_channels': 8},
    'roi_head': {
        'type': 'NoduleRoIHead',
        'bbox_head': {
            'type': 'BBox3DHead',
            'in_channels': 8,
            'fc_channels': (16, 8),
        },
        'mask_head': {
            'type': 'Mask3DHead',
            'in_channels': 8,
            'skip_channels': 4,
            'channels': 4,
        },
    },
    'test_cfg': {
        'window': (32, 32, 32),
        'overlap': 16,
        'mask': {'score_thr': 0.0},
    },
}


def narrow_net(**changes: object) -> NoduleNet:
    """All heads, a few channels, windows of 32."""
    torch.manual_seed(0)
    return NoduleNet(**{**copy.deepcopy(NARROW), **changes})


def predictor_of(detector: WindowDetector, **changes: object) -> CasePredictor:
    """Windows of 32, every 16 voxels."""
    options = {
        'window': (32, 32, 32),
        'overlap': 16,
        'windows_at_once': 4,
        'min_inside': 4.0,
    }
    return CasePredictor(
        detector,
        CTDataPreprocessor(),
        DetectionPostProcessor(),
        **{**options, **changes},
    )


def sample_of(
    boxes: list, ignored: list = (), has_mask: bool = True
) -> DetDataSample:
    """Targets of one crop; nodule 1 fills [10, 18) on each axis."""
    sample = DetDataSample()
    num = len(boxes)
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 6),
        labels=torch.ones(num, dtype=torch.long),
        ids=torch.arange(1, num + 1),
        has_mask=torch.full((num,), has_mask),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.tensor(list(ignored), dtype=torch.float32).view(-1, 6)
    )
    sample.gt_masks = torch.zeros(SHAPE, dtype=torch.uint8)
    sample.gt_masks[10:18, 10:18, 10:18] = 1
    return sample


def feature_maps(
    num: int, channels: tuple[int, int, int], shape: tuple = SHAPE
) -> FeatureMaps:
    """Random maps of ``num`` images; channels of out1, out2 and comb2."""
    maps = [
        torch.randn(num, c, *(side // stride for side in shape))
        for c, stride in zip((1, *channels), (1, 2, 4, 4))
    ]
    return FeatureMaps(*maps)


def detections_at(
    centers: list[list[float]], scores: list[float]
) -> InstanceData:
    center = torch.tensor(centers)
    return InstanceData(
        bboxes=torch.cat([center - 2, center + 2], dim=1),
        scores=torch.tensor(scores),
        mask_boxes=torch.zeros(len(scores), 6, dtype=torch.long),
        masks=[None] * len(scores),
    )
