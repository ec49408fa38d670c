from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import ValidationError

from lungdet.errors import SeriesError
from lungdet.io.results import (
    read_result,
    result_from_dict,
    result_to_dict,
)
from tests.io.results import GRID, SCAN, complete_result, make_result
from tests.schemas import assert_valid


def test_a_result_follows_its_schema_and_survives_json(
    tmp_path: Path,
) -> None:
    result = complete_result()

    values = result_to_dict(result)

    assert_valid('result', values)
    assert values['geometry'] == SCAN.to_dict()
    assert values['case_geometry'] == GRID.to_dict()
    assert [d['mask_label'] for d in values['detections']] == [None, 2]
    # 2 x 3 x 4 voxels of 2 x 1 x 0.5 mm
    assert [d['volume_mm3'] for d in values['detections']] == [None, 24.0]
    (tmp_path / 'result.json').write_text(json.dumps(values))
    back = read_result(tmp_path / 'result.json')
    assert back.geometry.is_close(GRID) and back.scan_geometry.is_close(SCAN)
    labelled = result.without_masks()
    labelled.detections[1] = replace(labelled.detections[1], mask_label=2)
    for name in vars(back).keys() - {'geometry', 'source_geometry'}:
        assert getattr(back, name) == getattr(labelled, name), name
    assert result_to_dict(back) == values


def test_a_result_of_a_test_follows_the_schema() -> None:
    values = result_to_dict(make_result())

    assert_valid('result', values)
    assert values['model'] is values['run'] is None


def test_the_schema_refuses_what_is_not_in_it() -> None:
    values = result_to_dict(make_result())

    with pytest.raises(ValidationError, match='series_uid'):
        assert_valid('result', {**values, 'series_uid': 1.2})
    with pytest.raises(ValidationError, match='findings'):
        assert_valid('result', {**values, 'findings': []})


def test_results_of_another_schema_are_refused() -> None:
    values = result_to_dict(make_result())

    with pytest.raises(SeriesError, match="1.20: schema 'lungdet.result/2'"):
        result_from_dict({**values, 'schema': 'lungdet.result/2'})


@pytest.mark.parametrize('missing', [*result_to_dict(complete_result())][2:])
def test_a_result_without_a_key_names_it(missing: str) -> None:
    values = result_to_dict(complete_result())
    del values[missing]

    with pytest.raises(SeriesError, match=f"x.json.*lacks '{missing}'"):
        result_from_dict(values, 'x.json')
