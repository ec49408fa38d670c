from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lungdet.apis.inference_record import (
    InferenceRecord,
    InferenceReport,
    ScanOutcome,
    read_inference_record,
)
from lungdet.errors import SeriesError
from lungdet.structures import ModelInfo
from tests.schemas import assert_valid

INFO = ModelInfo('N', '1', 'w.pth', 'a' * 64, 'b' * 64, (-1200, 600), 1.0)
RECORD = InferenceRecord(
    series_uid='1.2',
    detections=2,
    best_score=0.75,
    caveats=('a doubt',),
    seconds={'read': 1.5},
    settings={'scan': 7, 'formats': ['json']},
    precision='bf16',
)


def test_a_record_comes_back(tmp_path: Path) -> None:
    assert read_inference_record(tmp_path) is None
    RECORD.write(tmp_path)

    assert_valid(
        'inference', json.loads((tmp_path / 'inference.json').read_text())
    )
    assert read_inference_record(tmp_path) == RECORD
    RECORD.remove(tmp_path)
    RECORD.remove(tmp_path)
    assert read_inference_record(tmp_path) is None


def test_a_record_tells_whether_it_keeps_paths(tmp_path: Path) -> None:
    for record in (RECORD, replace(RECORD, path='/scans/DOE_JOHN')):
        record.write(tmp_path)

        again = read_inference_record(tmp_path)

        assert again is not None
        assert again.keeps_phi == (record.path is not None)


def test_differences_are_named() -> None:
    assert RECORD.differences({'scan': 7, 'formats': ['json']}) == []
    assert RECORD.differences({'scan': 8, 'new': 1}) == [
        'scan',
        'new',
        'formats',
    ]


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('schema', 'lungdet.inference/0'),
        ('detections', 'two'),
        ('caveats', None),
        ('settings', []),
        ('seconds', {'read': None}),
        ('precision', 16),
    ],
)
def test_a_damaged_record_names_its_file(
    tmp_path: Path, key: str, value: Any
) -> None:
    RECORD.write(tmp_path)
    path = tmp_path / 'inference.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    with pytest.raises(SeriesError, match='inference.json'):
        read_inference_record(tmp_path)


def report(*states: str, **given: Any) -> InferenceReport:
    outcomes = tuple(
        ScanOutcome(str(k), str(k), state) for k, state in enumerate(states)
    )
    return InferenceReport(INFO, 'cpu', 'fp32', {}, outcomes, **given)


@pytest.mark.parametrize(
    ('states', 'stopped', 'code'),
    [
        ('', None, 0),
        ('done skipped', None, 0),
        ('failed', None, 2),
        ('failed failed', None, 2),
        ('failed skipped', None, 3),
        ('done failed', None, 3),
        ('done', 'disk full', 3),
        ('failed', 'disk full', 3),
    ],
)
def test_exit_codes(states: str, stopped: str | None, code: int) -> None:
    one = report(*states.split(), stopped=stopped, untried=3)

    assert one.exit_code == code
    assert_valid('infer_report', one.to_dict())


def test_a_record_of_an_early_version_states_no_precision(
    tmp_path: Path,
) -> None:
    RECORD.write(tmp_path)
    path = tmp_path / 'inference.json'
    values = json.loads(path.read_text())
    del values['precision']
    path.write_text(json.dumps(values))

    record = read_inference_record(tmp_path)

    assert record is not None and record.precision is None
    assert_valid('inference', values)
