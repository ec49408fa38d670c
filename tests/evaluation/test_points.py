from __future__ import annotations

import numpy as np

from lungdet.evaluation.points import (
    annotation_points,
    annotations_by_scan,
    detection_points,
)
from lungdet.structures import Annotation, Detection

ROWS = [Annotation((1, 2, 3), 6.5), Annotation((4, 5, 6), None)]


def test_rows_keep_their_order_and_unknown_diameters_are_nan() -> None:
    centers, diameters = annotation_points(ROWS)

    np.testing.assert_array_equal(centers, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(diameters, [6.5, np.nan])


def test_a_scan_without_rows_has_points_of_the_right_shape() -> None:
    table = annotations_by_scan({'a': ROWS, 'b': []})

    assert [*table] == ['a', 'b']
    assert table['a'][0].shape == (2, 3)
    assert table['b'][0].shape == (0, 3) and table['b'][1].shape == (0,)


def test_detections_without_that_score_are_left_out() -> None:
    detections = [
        Detection((1, 2, 3), 0.2, rpn_score=0.3),
        Detection((4, 5, 6), 0.9),
        Detection((7, 8, 9), 0.1, rpn_score=0.7),
    ]

    centers, scores = detection_points(detections, 'rpn_score')

    assert scores.tolist() == [0.3, 0.7]
    assert centers.tolist() == [[1, 2, 3], [7, 8, 9]]
    assert detection_points(detections)[1].tolist() == [0.2, 0.9, 0.1]
