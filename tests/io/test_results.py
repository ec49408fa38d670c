from __future__ import annotations

import json

import numpy as np
import pytest
from jsonschema import ValidationError

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.predictions import CasePredictions
from lungdet.io.results import (
    result_from_dict,
    result_to_dict,
)
from lungdet.structures import SeriesResult
from tests.schemas import assert_valid

GRID = Geometry.from_parts(
    (20, 24, 28), spacing_zyx=(2, 1, 0.5), origin_xyz=(10, -20, 30)
)
SCAN = Geometry.from_parts(
    (9, 50, 60), spacing_zyx=(4.5, 0.5, 0.25), origin_xyz=(9, -21, 29)
)


def make_result() -> SeriesResult:
    """The better detection second, and without a mask."""
    mask = np.ones((2, 3, 4), dtype=bool)
    predictions = CasePredictions(
        bboxes=np.array([[2, 4, 4, 4, 8, 12], [0, 0, 0, 2, 2, 2.0]]),
        scores=np.array([0.25, 0.75]),
        rpn_scores=np.array([0.5, 0.125]),
        rcnn_scores=np.array([np.nan, 0.5]),
        mask_boxes=np.array([[2, 4, 4, 4, 7, 8], [0, 0, 0, 0, 0, 0]]),
        masks=[mask, None],
    )
    return predictions.to_result('1.20', GRID, source_geometry=SCAN)


def test_a_result_follows_its_schema_and_survives_json() -> None:
    result = make_result()
    result.caveats.append('a doubt')

    values = result_to_dict(result, mask_file='masks.nii.gz')

    assert_valid('result', values)
    assert values['geometry'] == SCAN.to_dict()
    assert values['case_geometry'] == GRID.to_dict()
    files = [d['mask_file'] for d in values['detections']]
    assert files == [None, 'masks.nii.gz']
    back = result_from_dict(json.loads(json.dumps(values)))
    assert back.detections == result.without_masks().detections
    assert back.caveats == ['a doubt'] and back.series_uid == '1.20'
    assert back.geometry.is_close(GRID)
    assert back.source_geometry is not None
    assert back.source_geometry.is_close(SCAN)


def test_the_schema_refuses_what_is_not_in_it() -> None:
    values = result_to_dict(make_result())

    with pytest.raises(ValidationError, match='series_uid'):
        assert_valid('result', {**values, 'series_uid': 1.2})
    with pytest.raises(ValidationError, match='findings'):
        assert_valid('result', {**values, 'findings': []})


def test_results_of_another_schema_are_refused() -> None:
    values = result_to_dict(make_result())

    with pytest.raises(SeriesError, match="1.20: schema 'lungdet.result/1'"):
        result_from_dict({**values, 'schema': 'lungdet.result/1'})
