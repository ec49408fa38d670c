"""How often the shipped detector computes a voxel of a real scan."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lungdet.apis import NoduleInferencer
from lungdet.data_sample import DetDataSample
from lungdet.evaluation import Selection
from lungdet.io.image import load_volume
from tests.real_scans import real_scans

MOST_TIMES = 1.6


@pytest.mark.slow
def test_each_voxel_of_a_scan_is_computed_at_most_1_6_times(
    test_data: Path,
) -> None:
    inferencer = NoduleInferencer(device='cpu', precision='fp32')
    predictor = inferencer.model.case_predictor()
    margin = Selection().lung_margin_mm
    times = {}
    for scan in real_scans(test_data):
        case = inferencer.prepare(load_volume(scan))
        lungs = torch.from_numpy(case.arrays['lungs'] > 0)
        sample = DetDataSample(lungs=lungs)
        sample.set_metainfo({'lung_margin': margin / case.record.spacing_mm})
        computed = torch.zeros(lungs.shape, dtype=torch.bool)
        total = 0
        for window in predictor.windows(lungs[None], sample):
            total += math.prod(window.size)
            z, y, x = window.start
            d, h, w = window.size
            computed[z : z + d, y : y + h, x : x + w] = True
        assert computed[lungs].all()
        times[scan.stem] = total / int(computed.sum())

    assert len(times) == 9
    assert max(times.values()) <= MOST_TIMES, times
    print({uid[-6:]: round(ratio, 2) for uid, ratio in times.items()})
