from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lungdet.errors import ConfigError, SeriesError
from lungdet.evaluation import CaseOptions, evaluate_cases
from lungdet.io.luna16 import read_marks
from lungdet.io.reference_set import official_reference
from lungdet.report.evaluation_files import (
    check_figure,
    listed_scans,
    read_run,
    read_scan,
    write_figure,
    write_run,
    write_scan,
)
from tests.evaluation.case_scene import scene
from tests.schemas import assert_valid


def test_files_of_a_run_agree_with_its_report(tmp_path: Path) -> None:
    scans, records = scene()
    report = evaluate_cases(
        scans,
        records,
        CaseOptions(bootstrap=20),
        official=official_reference(),
        num_listed=5,
    )

    write_run(tmp_path, report, scans)

    froc = json.loads((tmp_path / 'froc.json').read_text())
    assert_valid('froc', froc)
    assert froc['cpm'] == report.result.cpm and froc['compared'] == []
    detections = json.loads((tmp_path / 'detections.json').read_text())
    for result in detections:
        assert_valid('result', result)
    assert [len(r['detections']) for r in detections] == [2, 1]
    marks = read_marks(tmp_path / 'submission.csv')
    assert marks['a'][1].tolist() == [0.9, 0.8]
    text = (tmp_path / 'table.txt').read_text()
    assert text == report.text() + '\n'
    assert '2 scans of 5 listed' in text
    assert (tmp_path / 'froc.png').stat().st_size > 5000


def test_scans_read_back_give_the_same_report(tmp_path: Path) -> None:
    scans, records = scene()
    for scan in scans.values():
        write_scan(tmp_path, scan)
        file = tmp_path / 'scans' / f'{scan.result.series_uid}.json'
        assert_valid('scan', json.loads(file.read_text()))

    again = {uid: read_scan(tmp_path, uid) for uid in scans}

    first, second = (
        evaluate_cases(s, records, official=official_reference()).to_dict()
        for s in (scans, again)
    )
    assert first == second


def test_a_run_continues_from_its_files(tmp_path: Path) -> None:
    scans, _ = scene()
    write_scan(tmp_path, scans['a'])

    continued = listed_scans({'b': scans['b']}, ['a', 'b'], tmp_path)

    assert list(continued) == ['a', 'b']
    with pytest.raises(ConfigError, match=r"1 scans .* missing: \['a'\]"):
        listed_scans({'b': scans['b']}, ['a', 'b'], None)
    with pytest.raises(ConfigError, match='2 scans were tested, 1 are'):
        listed_scans(scans, ['a'], None)


def test_scans_of_an_older_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / 'scans' / 'a.json'
    file.parent.mkdir()
    file.write_text('{"schema": "lungdet.result/1", "series_uid": "a"}')

    with pytest.raises(SeriesError, match='run the detector on the scan'):
        read_scan(tmp_path, 'a')


def test_figures_are_written_by_suffix(tmp_path: Path) -> None:
    scans, records = scene()
    report = evaluate_cases(scans, records, official=official_reference())

    write_figure(tmp_path / 'froc.svg', [report])

    assert 'fused, CPM' in (tmp_path / 'froc.svg').read_text()
    with pytest.raises(ConfigError, match='written as .png, .svg, .pdf'):
        check_figure('froc.bmp')


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('"dice": ', '"dice": "x", "other": '),
        ('"detected": true', '"detected": "yes"'),
        ('"surface_mm": ', '"surface_mm": [], "other": '),
        ('{', '{"a": ' * 50_000),
    ],
)
def test_a_damaged_scan_names_its_file(
    tmp_path: Path, old: str, new: str
) -> None:
    scans, _ = scene()
    write_scan(tmp_path, scans['a'])
    file = tmp_path / 'scans' / 'a.json'
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))

    with pytest.raises(SeriesError, match=r'a\.json: .*test again'):
        read_scan(tmp_path, 'a')


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda text: '[' * 100_000, 'not JSON'),
        (lambda text: '{}', 'holds a dict'),
        (lambda text: text[:-1] + ', ' + text[1:], 'lists a series twice'),
        (lambda text: '[3]', 'not an object'),
    ],
)
def test_a_damaged_run_names_its_file(
    tmp_path: Path, change: Callable[[str], str], reason: str
) -> None:
    scans, records = scene()
    report = evaluate_cases(scans, records, official=official_reference())
    write_run(tmp_path, report, scans)
    assert len(read_run(tmp_path).scans) == 2
    file = tmp_path / 'detections.json'
    file.write_text(change(file.read_text()))

    with pytest.raises(SeriesError, match=rf'detections\.json: .*{reason}'):
        read_run(tmp_path)
