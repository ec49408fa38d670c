from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.data_sample import DetDataSample
from lungdet.engine import Key
from lungdet.geometry import box_of_mask
from tests.datasets.stores import training_crops


def test_boxes_are_the_visible_masks_and_8_voxels_longer(balls: Path) -> None:
    def sample(kind: str) -> DetDataSample:
        data = training_crops(balls, size=(48, 64, 64), load={'type': kind})
        return data[Key(2, 0, 2)]['data_samples']

    plain, published = sample('LoadCrop'), sample('PublishedLoadCrop')

    (box, *_), (wide, *_) = (
        s.gt_instances.bboxes.numpy() for s in (plain, published)
    )
    visible = box_of_mask(published.gt_masks.numpy() == 3)
    np.testing.assert_array_equal(wide - visible, [-4, -4, -4, 4, 4, 4])
    # voxel centres -6..6 of a ball of 12 mm, and the border
    assert wide[3] - wide[0] == 13 + 8
    assert box[3] - box[0] == pytest.approx(12, abs=1e-4)
