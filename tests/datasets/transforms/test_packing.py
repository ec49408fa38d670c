from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lungdet.datasets import PackDetInputs, PackPair
from lungdet.datasets.transforms.base import NoParams
from lungdet.datasets.transforms.packing import PackPairParams
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from tests.datasets.stores import training_crops


@pytest.mark.parametrize(
    'transform',
    [
        {'type': 'RandomHUShiftScale', 'shift': 90000.0, 'prob': 1.0},
        {'type': 'RandomGamma', 'prob': 1.0},
        {'type': 'RandomNoise', 'prob': 1.0},
    ],
    ids=lambda transform: transform['type'],
)
def test_inputs_are_int16_without_wrapping(
    balls: Path, transform: dict
) -> None:
    data = training_crops(
        balls, size=(16, 16, 32), margin=1, after=(transform,)
    )

    inputs = data[0]['inputs']

    assert inputs.dtype == torch.int16
    assert inputs.shape == (1, 16, 16, 32)
    if transform['type'] == 'RandomHUShiftScale':
        assert abs(int(inputs.float().mean())) > 30000


def test_hu_are_rounded_to_the_nearest(balls: Path) -> None:
    image = np.array([[[0.6, -0.6, 1.4, -873.7, 4e4, -4e4]]], np.float32)
    sample = {
        'record': CaseStore(balls).records['1.1'],
        'image': image,
        'geometry': Geometry(image.shape, np.eye(4)),
        'sample_key': 'a crop',
    }

    inputs = PackDetInputs().apply(sample, NoParams())['inputs']

    assert inputs.flatten().tolist() == [1, -1, 1, -874, 32767, -32768]


def test_crop_without_nodule_has_empty_targets(balls: Path) -> None:
    data = training_crops(balls, size=(16, 16, 16), background_ratio=20.0)
    samples = [data[k]['data_samples'] for k in range(3, 43)]

    empty = [s for s in samples if not len(s.gt_instances.ids)]

    assert empty
    for sample in empty:
        assert sample.gt_instances.bboxes.shape == (0, 6)
        assert sample.gt_instances.bboxes.dtype == torch.float32
        assert sample.ignored_instances.bboxes.shape[1:] == (6,)


def test_pair_tells_what_the_model_must_know(lungs: Path) -> None:
    record = CaseStore(lungs).records['1.1']
    target = np.random.default_rng(0).random((2, 3, 4), dtype=np.float32)
    sample = {
        'record': record,
        'image': target / 2,
        'target': target,
        'geometry': Geometry((2, 3, 4), np.eye(4)),
        'in_lungs': target < 0.2,
        'window': (-1200, 600),
        'sample_key': 'a crop',
    }

    plain = PackPair().apply(sample, PackPairParams(5))
    painted = PackPair().apply(
        {**sample, 'masked': target > 0.5, 'painting': 'in'},
        PackPairParams(5),
    )

    meta = plain['data_samples'].metainfo
    assert (meta['mask_seed'], meta['painting']) == (5, 'none')
    assert (meta['series_uid'], meta['window']) == ('1.1', (-1200.0, 600.0))
    assert plain['inputs'].shape == plain['targets'].shape == (1, 2, 3, 4)
    assert not plain['masked'].any() and plain['masked'].dtype == torch.bool
    np.testing.assert_array_equal(painted['masked'][0], target > 0.5)
    assert painted['data_samples'].painting == 'in'
    np.testing.assert_array_equal(plain['lungs'][0], target < 0.2)
