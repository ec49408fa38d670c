from __future__ import annotations

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.evaluation import dice_iou


def test_two_shifted_blocks() -> None:
    # 2 x 3 x 4 = 24 voxels each, shifted by 1 along x: 18 in common
    one, two = np.zeros((2, 4, 9), bool), np.zeros((2, 4, 9), bool)
    one[:, :3, :4] = True
    two[:, :3, 1:5] = True

    assert dice_iou(one, two) == (36 / 48, 18 / 30)


def test_empty_masks_and_other_shapes() -> None:
    empty, full = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)

    assert dice_iou(empty, empty) == (1.0, 1.0)
    assert dice_iou(empty, full) == (0.0, 0.0)
    with pytest.raises(AnnotationError, match='on one grid'):
        dice_iou(empty, full[:1])
