"""Packing of samples as tensors and a DetDataSample for the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from mmengine.structures import InstanceData

from lungdet.data_sample import DetDataSample
from lungdet.datasets.transforms.base import (
    FixedTransform,
    NoParams,
    Sample,
    Transform,
)
from lungdet.registry import TRANSFORMS
from lungdet.seeds import draw_seed

HU_RANGE = np.iinfo(np.int16)


class DetInputs(TypedDict):
    """Input of a detector.

    Attributes:
        inputs: int16 HU (1, D, H, W).
        data_samples: Targets, where the pipeline loaded them.
    """

    inputs: torch.Tensor
    data_samples: DetDataSample


@TRANSFORMS.register_module()
class PackDetInputs(FixedTransform):
    """Pack a sample as the input of a detector.

    The image becomes int16 HU (1, D, H, W), rounded once after all transforms.
    """

    def apply(self, sample: Sample, params: NoParams) -> DetInputs:
        packed = DetDataSample(
            metainfo={
                'series_uid': sample['record'].series_uid,
                'affine': sample['geometry'].affine,
                'img_shape': sample['geometry'].shape,
                'sample_key': sample['sample_key'],
            }
        )
        if 'gt_boxes' in sample:
            packed.set_data(_targets(sample))
        if 'lungs' in sample:
            packed.lungs = torch.from_numpy(sample['lungs'])
            packed.set_metainfo({'lung_margin': sample['lung_margin']})
        if 'candidates' in sample:
            boxes = torch.from_numpy(sample['candidates'])
            packed.candidates = InstanceData(bboxes=boxes)
        image = torch.from_numpy(sample['image'])
        if image.dtype != torch.int16:
            image = image.round().clamp_(HU_RANGE.min, HU_RANGE.max)
        return {
            'inputs': image.to(torch.int16)[None],
            'data_samples': packed,
        }


def _targets(sample: Sample) -> dict[str, Any]:
    """Nodules, excluded findings and masks, as a ``DetDataSample`` has
    them.
    """
    nodules = sample['gt_nodules']
    has_mask = torch.tensor([n.has_mask for n in nodules], dtype=torch.bool)
    return {
        'gt_instances': InstanceData(
            bboxes=torch.from_numpy(sample['gt_boxes']).float(),
            labels=torch.ones(len(nodules), dtype=torch.long),
            ids=torch.tensor([n.id for n in nodules], dtype=torch.long),
            has_mask=has_mask,
        ),
        'ignored_instances': InstanceData(
            bboxes=torch.from_numpy(sample['ignored_boxes']).float()
        ),
        'gt_masks': torch.from_numpy(sample['mask']),
    }


class Pair(TypedDict):
    """Input of a restoration model.

    Attributes:
        inputs: Normalized intensity, distorted, (1, D, H, W) float32.
        targets: The same, undistorted.
        masked: (1, D, H, W) bool, voxels that painting replaced.
        lungs: (1, D, H, W) bool.
        data_samples: Metainfo alone.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    masked: torch.Tensor
    lungs: torch.Tensor
    data_samples: DetDataSample


@dataclass(frozen=True)
class PackPairParams:
    """Seed of the model's random draws for this crop."""

    mask_seed: int


@TRANSFORMS.register_module()
class PackPair(Transform[PackPairParams]):
    """Pack a sample as the input of a restoration model."""

    def draw(self, rng: np.random.Generator, sample: Sample) -> PackPairParams:
        return PackPairParams(draw_seed(rng))

    def apply(self, sample: Sample, params: PackPairParams) -> Pair:
        target = sample['target']
        packed = DetDataSample(
            metainfo={
                'series_uid': sample['record'].series_uid,
                'affine': sample['geometry'].affine,
                'img_shape': target.shape,
                'sample_key': sample['sample_key'],
                'window': tuple(map(float, sample['window'])),
                'painting': sample.get('painting', 'none'),
                'mask_seed': params.mask_seed,
            }
        )
        masked = sample.get('masked')
        if masked is None:
            masked = np.zeros(target.shape, dtype=bool)
        return {
            'inputs': torch.from_numpy(sample['image'])[None],
            'targets': torch.from_numpy(target)[None],
            'masked': torch.from_numpy(masked)[None],
            'lungs': torch.from_numpy(sample['in_lungs'])[None],
            'data_samples': packed,
        }
