from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.evaluation import bootstrap_cpm, evaluate_froc, froc_table
from lungdet.io.luna16 import (
    as_arrays,
    read_annotations,
    read_excluded,
    read_marks,
    read_seriesuids,
)
from tests.oracles.froc_literal import literal_froc

NAMES = {
    'tp': 'true_positives',
    'fp': 'false_positives',
    'fn': 'false_negatives',
    'candidates': 'candidates',
    'nodules': 'nodules',
    'ignored_excluded': 'ignored_on_excluded',
    'ignored_double': 'ignored_double',
}


def arrays_of(table: dict) -> dict:
    return {uid: as_arrays(found) for uid, found in table.items()}


@pytest.fixture(scope='module')
def oracles(test_data: Path) -> Path:
    return test_data / 'froc-oracles'


@pytest.fixture(scope='module')
def official(oracles: Path) -> tuple[dict, dict]:
    return (
        arrays_of(read_annotations(oracles / 'annotations.csv')),
        arrays_of(read_excluded(oracles / 'annotations_excluded.csv')),
    )


@pytest.mark.parametrize('name', ['deeplung_dpn26', 'deepseed_fold9'])
def test_public_submissions_give_the_official_counts_and_digits(
    oracles: Path, official: tuple, tmp_path: Path, name: str
) -> None:
    expected = json.loads((oracles / 'expected.json').read_text())[name]
    submission = oracles / f'{name}.csv'
    if not submission.is_file():
        submission = tmp_path / submission.name
        packed = (oracles / f'{name}.csv.gz').read_bytes()
        submission.write_bytes(gzip.decompress(packed))
    uids = read_seriesuids(oracles / expected['scan_list'])

    result = evaluate_froc(*official, read_marks(submission), uids)

    for own, theirs in NAMES.items():
        assert result.counts[own] == expected['counts'][theirs], own
    for own, theirs in (
        ('sensitivities', 'interp'),
        ('sensitivities_step', 'interp_integer_fp'),
    ):
        np.testing.assert_allclose(
            getattr(result, own),
            expected['readouts'][theirs]['sensitivity_at_rates'],
            atol=1e-12,
        )
    curve = np.loadtxt(oracles / f'{name}_froc.txt', delimiter=',')
    own = np.stack([result.fp_per_scan, result.sensitivity], 1)
    for x, y in curve[:, :2]:
        assert np.abs(own - (x, y)).max(1).min() < 1.1e-9


def test_ten_published_scores_by_subset(
    oracles: Path, official: tuple, tmp_path: Path
) -> None:
    expected = json.loads((oracles / 'expected.json').read_text())
    submission = tmp_path / 'marks.csv'
    packed = (oracles / 'deeplung_dpn26.csv.gz').read_bytes()
    submission.write_bytes(gzip.decompress(packed))
    marks = read_marks(submission)
    rows = (oracles / 'luna16_subsets.csv').read_text().split()[1:]
    subset = dict(row.split(',') for row in rows)

    for wanted in expected['deeplung_dpn26']['per_subset']:
        uids = [u for u, s in subset.items() if s == str(wanted['subset'])]
        result = evaluate_froc(*official, marks, uids)
        assert result.counts['nodules'] == wanted['nodules']
        assert result.cpm == pytest.approx(wanted['cpm_interp'], abs=1e-12)
        if wanted['subset'] != 9:  # there a step lies exactly at a rate
            assert round(result.cpm, 4) == pytest.approx(
                wanted['cpm_published'], abs=1.1e-4
            )


def edge_cases() -> list[str]:
    return [f'e{number:02d}' for number in range(1, 23)]


@pytest.mark.parametrize('prefix', edge_cases())
def test_edge_case(oracles: Path, tmp_path: Path, prefix: str) -> None:
    cases = json.loads((oracles / 'edge_cases.json').read_text())
    (name,) = [key for key in cases if key.startswith(prefix)]
    case = cases[name]
    for file, lines in case['files'].items():
        (tmp_path / file).write_text('\n'.join(lines) + '\n')
    uids = [line.split(',')[0] for line in case['files']['seriesuids.csv']]

    def findings(file: str) -> dict:
        return arrays_of(read_excluded(tmp_path / file))

    result = evaluate_froc(
        findings('annotations.csv'),
        findings('annotations_excluded.csv'),
        read_marks(tmp_path / 'submission.csv'),
        uids,
    )

    for own, theirs in NAMES.items():
        assert result.counts[own] == case['expected']['counts'][theirs], own
    np.testing.assert_allclose(
        result.sensitivities,
        case['expected']['sensitivity_at_rates'],
        atol=1e-12,
    )


coordinate = st.integers(0, 9).map(float)
finding = st.tuples(
    coordinate, coordinate, coordinate, st.sampled_from([-1.0, 2.0, 6.0, 10.0])
)
mark = st.tuples(
    coordinate, coordinate, coordinate, st.integers(0, 5).map(lambda k: k / 4)
)
table = st.dictionaries(st.sampled_from('abcd'), st.lists(finding, max_size=4))


@given(
    annotations=table,
    excluded=table,
    marks=st.dictionaries(st.sampled_from('abcd'), st.lists(mark, max_size=9)),
    max_marks=st.sampled_from([3, 100]),
)
def test_agrees_with_the_literal_rule(
    annotations: dict, excluded: dict, marks: dict, max_marks: int
) -> None:
    uids = ['a', 'b', 'c']
    wanted = literal_froc(annotations, excluded, marks, uids, max_marks)

    def split(rows: dict) -> dict:
        return {
            uid: (
                np.array([r[:3] for r in found]).reshape(-1, 3),
                np.array([r[3] for r in found], dtype=float),
            )
            for uid, found in rows.items()
        }

    result = evaluate_froc(
        split(annotations),
        split(excluded),
        split(marks),
        uids,
        max_marks=max_marks,
    )

    assert result.counts == wanted['counts']
    points = np.stack([result.fp_per_scan, result.sensitivity], 1)
    assert points.tolist() == [list(p) for p in wanted['points']]


def at(*rows: tuple) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(rows, dtype=float).reshape(-1, 4)
    return values[:, :3], values[:, 3]


def test_hand_worked_curve() -> None:
    # 2 scans, 2 nodules; hits .9 and .4, false positives .7 and .2:
    # (0, .5) at .9, (.5, .5) at .7, (.5, 1) at .4, (1, 1) at .2
    result = evaluate_froc(
        {'a': at((0, 0, 0, 8)), 'b': at((5, 5, 5, 8))},
        {'a': at((50, 0, 0, -1))},
        {
            'a': at((1, 0, 0, 0.9), (30, 0, 0, 0.7), (50, 1, 0, 0.99)),
            'b': at((5, 5, 6, 0.4), (40, 0, 0, 0.2)),
        },
        ['a', 'b'],
    )

    assert result.counts['ignored_excluded'] == 1
    assert result.sensitivities == [0.5, 0.5, 1, 1, 1, 1, 1]
    assert result.cpm == pytest.approx(6 / 7)


def test_nothing_found_and_nothing_to_find() -> None:
    nodule = {'a': at((0, 0, 0, 8))}

    silent = evaluate_froc(nodule, {}, {}, ['a'])
    empty = evaluate_froc({}, {}, {'a': at((0, 0, 0, 0.5))}, ['a'])

    assert silent.sensitivities == [0.0] * 7
    assert empty.sensitivities is None and empty.cpm is None
    assert '1 scans of 2 listed, 0 nodules' in froc_table(
        {'x': empty}, listed=2
    )


def test_bootstrap_is_seeded_and_holds_the_estimate(
    rng: np.random.Generator,
) -> None:
    uids = [str(k) for k in range(40)]
    nodules = {u: at((0, 0, 0, 8)) for u in uids}
    marks = {
        u: at((rng.integers(0, 2) * 9, 0, 0, rng.random()), (30, 0, 0, 0.4))
        for u in uids
    }
    result = evaluate_froc(nodules, {}, marks, uids)

    low, high = bootstrap_cpm(result, uids, samples=300)

    assert low < result.cpm < high
    assert (low, high) == bootstrap_cpm(result, uids, samples=300)
    # sensitivity of 40 independent nodules: the binomial width
    assert 0.1 < high - low < 0.5
