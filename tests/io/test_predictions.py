"""Detections in voxels, and in world mm."""

from __future__ import annotations

import numpy as np
import pytest

from lungdet.io.predictions import CasePredictions
from tests.io.test_results import GRID, make_result


def test_detections_come_best_first_in_world_millimetres() -> None:
    result = make_result()

    best, other = result.detections
    assert [d.score for d in result.detections] == [0.75, 0.25]
    assert (best.rpn_score, best.rcnn_score) == (0.125, 0.5)
    assert (other.rpn_score, other.rcnn_score) == (0.5, None)
    # box (2, 4, 4) to (4, 8, 12): middle at index (2.5, 5.5, 7.5)
    assert other.center_mm == (10 + 3.75, -20 + 5.5, 30 + 5.0)
    assert other.size_mm == (4.0, 4.0, 4.0)
    assert best.mask is None and best.mask_box is None
    assert other.mask_box == (2, 4, 4, 4, 7, 8)


def test_arrays_are_taken_by_name_and_others_left_out() -> None:
    predictions = CasePredictions.of(
        {
            'bboxes': np.zeros((0, 6), np.float32),
            'scores': np.zeros(0, np.float32),
            'proposals': np.zeros((4, 6)),
        }
    )

    assert predictions.bboxes.dtype == np.float64
    assert predictions.to_result('a', GRID).detections == []


def test_arrays_of_different_lengths_are_refused() -> None:
    boxes = np.zeros((2, 6))
    with pytest.raises(ValueError, match='scores|bboxes: 2 values of 1'):
        CasePredictions(boxes, np.array([0.5]))
    with pytest.raises(ValueError, match='rpn_scores: 1 values of 2'):
        CasePredictions(boxes, np.array([0.5, 0.1]), np.array([0.5]))
    with pytest.raises(ValueError, match='give both, or neither'):
        CasePredictions(boxes, np.array([0.5, 0.1]), masks=[None, None])
