from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.case_json import case_from_json, case_to_json
from tests.io.cases import GRID, make_case


def test_record_survives_json() -> None:
    record = replace(make_case()[0], checksums={'image': 7})

    back = case_from_json(json.loads(json.dumps(case_to_json(record))))

    for name in ('geometry', 'source_geometry'):
        wanted, read = getattr(record, name), getattr(back, name)
        assert read.shape == wanted.shape
        np.testing.assert_array_equal(read.affine, wanted.affine)
    same = {'geometry': GRID, 'source_geometry': GRID}
    assert replace(back, **same) == replace(record, **same)


def test_records_that_say_warnings_are_still_read() -> None:
    values = case_to_json(make_case()[0])
    values['warnings'] = values.pop('caveats')

    assert case_from_json(values).caveats == ['slice 3 was missing']


def test_records_from_before_patients_were_kept_are_still_read() -> None:
    values = case_to_json(make_case()[0])
    del values['patient_id']

    assert case_from_json(values).patient_id is None


def test_other_formats_are_refused() -> None:
    values = {**case_to_json(make_case()[0]), 'format': 'lungdet.case/0'}

    with pytest.raises(SeriesError, match='prepare the scan again'):
        case_from_json(values)


def test_record_without_a_value_is_named() -> None:
    values = case_to_json(make_case()[0])
    del values['spacing_mm']

    with pytest.raises(SeriesError, match="case 1.2: .* lacks 'spacing_mm'"):
        case_from_json(values)
