"""RoI pooling against numbers of the published system (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.ops import roi_crop_pool
from lungdet.ops.roi_pool import roi_cells
from tests.oracles.reference import check, edges, u, vectors


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
