from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.merge_results import MissingResultsError, merge_results
from lungdet.apis.scan_list import ScanList
from lungdet.apis.scan_steps import InferOptions
from lungdet.errors import ConfigError
from lungdet.io.luna16 import read_marks, read_seriesuids
from tests.apis.scans import run_on, write_scans
from tests.apis.test_inferencer import threshold

__all__ = ['threshold']


@pytest.fixture
def parts(threshold: NoduleInferencer, tmp_path: Path) -> list[Path]:
    """Results of two runs, three scans."""
    write_scans(tmp_path / 'one', ['b', '=c'])
    write_scans(tmp_path / 'two', ['x', 'a'])
    for name in ('one', 'two'):
        run_on(threshold, tmp_path / name, tmp_path / f'out-{name}')
    return [tmp_path / 'out-one', tmp_path / 'out-two']


def edit(path: Path, **values: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))


def test_parts_become_one_submission_and_table(
    parts: list[Path], tmp_path: Path
) -> None:
    nothing = parts[0] / 'b'
    edit(nothing / 'result.json', detections=[])

    merged = merge_results([*parts, parts[1] / 'a'], tmp_path / 'all')

    uids = ['=c', 'a', 'b', 'x']
    assert [result.series_uid for result in merged.results] == uids
    assert merged.detections == 3
    assert read_seriesuids(tmp_path / 'all/seriesuids.csv') == uids
    marks = read_marks(tmp_path / 'all/submission.csv')
    assert sorted(marks) == ['=c', 'a', 'x']
    with open(tmp_path / 'all/detections.csv', newline='') as file:
        lines = list(csv.DictReader(file))
    assert [line['seriesuid'] for line in lines] == ["'=c", 'a', 'x']
    for line, uid in zip(lines, ['=c', 'a', 'x']):
        (center,), (score,) = marks[uid]
        there = [float(line[f'coord{axis}']) for axis in 'XYZ']
        assert there == pytest.approx(center, abs=1e-6)
        assert float(line['probability']) == pytest.approx(score)
        assert float(line['diameter_mm']) > 5
    row = (parts[1] / 'x' / 'marks.csv').read_text().splitlines()[1]
    assert row in (tmp_path / 'all/submission.csv').read_text().splitlines()
    assert any('4 of 4 results have caveats' in t for t in merged.caveats)


def test_names_with_commas_are_the_same_in_all_tables(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    names = ['Doe, Jane', 'Roe "R", Jo']
    write_scans(tmp_path / 'in', names)
    run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    merge_results([tmp_path / 'out'], tmp_path / 'all')

    assert read_seriesuids(tmp_path / 'all/seriesuids.csv') == names
    assert [*read_marks(tmp_path / 'all/submission.csv')] == names
    (first, _) = (tmp_path / 'all/seriesuids.csv').read_text().splitlines()
    assert first == '"Doe, Jane"'


def test_parts_in_two_precisions_are_told(
    parts: list[Path], tmp_path: Path
) -> None:
    path = parts[0] / 'b' / 'result.json'
    run = json.loads(path.read_text())['run']
    edit(path, run={**run, 'precision': 'bf16'})

    merged = merge_results(parts, tmp_path / 'all')

    assert 'precision differs: bf16, fp32' in merged.caveats


def test_scans_without_a_result_are_named(
    parts: list[Path], tmp_path: Path
) -> None:
    """Of another part, of one that was not run to its end, and a failed
    one."""
    uids = ('=c', 'a', 'b', 'x')
    for folder in parts:
        ScanList(uids, 2).write(folder)
    missing = 'part 0 of 2: no result of 1 of 2 scans (b)'
    shutil.rmtree(parts[0] / 'b')

    with pytest.raises(MissingResultsError, match=re.escape(missing)):
        merge_results(parts, tmp_path / 'all')
    assert not (tmp_path / 'all').exists()
    merged = merge_results(parts, tmp_path / 'all', allow_missing=True)

    assert merged.caveats[0] == missing
    assert read_seriesuids(tmp_path / 'all/seriesuids.csv') == ['=c', 'a', 'x']
    with pytest.raises(MissingResultsError, match='part 1 of 2') as caught:
        merge_results(parts[:1], tmp_path / 'all')
    assert 'part 0 of 2: no result of 1 of 2 scans (b)' in str(caught.value)
    assert 'part 1 of 2: no result of 2 of 2 scans (a, x)' in str(caught.value)


def test_all_scans_of_the_lists_are_there(
    parts: list[Path], tmp_path: Path
) -> None:
    assert any('no list' in t for t in merged_caveats(parts, tmp_path))
    ScanList(('=c', 'b')).write(parts[0])
    ScanList(('a', 'x')).write(parts[1])

    caveats = merged_caveats(parts, tmp_path)

    assert not any('no list' in t or 'no result' in t for t in caveats)


def merged_caveats(parts: list[Path], tmp_path: Path) -> tuple[str, ...]:
    return merge_results(parts, tmp_path / 'all').caveats


def test_a_scan_that_got_a_longer_name_does_not_count_twice(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    """A second file of its name came after the first run."""
    for folder, names in (('1', ['ct']), ('2', ['x', 'ct'])):
        write_scans(tmp_path / 'in' / folder, names)
        run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')
        uids = tuple(outcome.series_uid for outcome in run.outcomes)
        ScanList(uids).write(tmp_path / 'out')

    with pytest.raises(ConfigError, match='out/ct: is of the same scan as'):
        merge_results([tmp_path / 'out'], tmp_path / 'all')

    shutil.rmtree(tmp_path / 'out' / 'ct')
    merged = merge_results([tmp_path / 'out'], tmp_path / 'all')
    assert len(merged.results) == 3


def test_names_in_an_archive_that_end_like_digests_are_two_scans(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    write_scans(tmp_path / 'packed', ['ct', 'ct-20240101'])
    (tmp_path / 'in').mkdir()
    shutil.make_archive(
        str(tmp_path / 'in' / 'scans'), 'zip', tmp_path / 'packed'
    )
    run_on(threshold, tmp_path / 'in', tmp_path / 'out')

    merged = merge_results([tmp_path / 'out'], tmp_path / 'all')

    uids = [result.series_uid for result in merged.results]
    assert uids == ['ct', 'ct-20240101']


def of_another_model(parts: list[Path]) -> None:
    path = parts[1] / 'a' / 'inference.json'
    settings = json.loads(path.read_text())['settings']
    edit(path, settings={**settings, 'weights_sha256': 'c' * 64})


def of_another_scan(parts: list[Path]) -> None:
    shutil.copytree(parts[1] / 'a', parts[0] / 'a')
    path = parts[0] / 'a' / 'inference.json'
    settings = json.loads(path.read_text())['settings']
    edit(path, settings={**settings, 'scan': 1})


def without_json(parts: list[Path]) -> None:
    (parts[0] / 'b' / 'result.json').unlink()


def without_anything(parts: list[Path]) -> None:
    for part in parts:
        shutil.rmtree(part)
        part.mkdir()


def without_folder(parts: list[Path]) -> None:
    shutil.rmtree(parts[0])


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        (of_another_model, 'made with another weights_sha256 than'),
        (of_another_scan, 'series a has another result in'),
        (without_json, 'b: has no result.json'),
        (without_anything, 'no result there'),
        (without_folder, 'out-one: is not a folder'),
    ],
)
def test_what_does_not_belong_together(
    parts: list[Path], tmp_path: Path, damage: Callable, reason: str
) -> None:
    damage(parts)

    with pytest.raises(ConfigError, match=reason):
        merge_results(parts, tmp_path / 'all')

    assert not (tmp_path / 'all').exists()


def test_formats_and_masks_may_differ(
    threshold: NoduleInferencer, parts: list[Path], tmp_path: Path
) -> None:
    write_scans(tmp_path / 'three', ['z'])
    options = InferOptions(formats=('json',))
    run_on(threshold, tmp_path / 'three', tmp_path / 'out-three', options)

    merged = merge_results([*parts, tmp_path / 'out-three'], tmp_path / 'all')

    assert len(merged.results) == 5
    threshold.selection = replace(threshold.selection, score_thr=0.1)
    options = replace(options, overwrite=True)
    run_on(threshold, tmp_path / 'three', tmp_path / 'out-three', options)
    with pytest.raises(ConfigError, match='another selection'):
        merge_results([*parts, tmp_path / 'out-three'], tmp_path / 'all')
