from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungdet.errors import AnnotationError
from lungdet.evaluation import (
    RATES,
    FROCResult,
    annotations_by_scan,
    evaluate_froc,
    froc_table,
    thinned,
)
from lungdet.io.luna16 import (
    read_annotations,
    read_excluded,
    read_marks,
    read_seriesuids,
)
from lungdet.io.reference_set import official_subsets
from tests.evaluation.points import at
from tests.oracles.froc_literal import (
    literal_froc,
    literal_nearest,
    literal_next,
    literal_read,
)

NAMES = {
    'tp': 'true_positives',
    'fp': 'false_positives',
    'fn': 'false_negatives',
    'candidates': 'candidates',
    'nodules': 'nodules',
    'ignored_excluded': 'ignored_on_excluded',
    'ignored_double': 'ignored_double',
}


@pytest.fixture(scope='module')
def oracles(test_data: Path) -> Path:
    return test_data / 'froc-oracles'


@pytest.fixture(scope='module')
def official(oracles: Path) -> tuple[dict, dict]:
    return (
        annotations_by_scan(read_annotations(oracles / 'annotations.csv')),
        annotations_by_scan(
            read_excluded(oracles / 'annotations_excluded.csv')
        ),
    )


READ_OUTS = {
    'interp': 'interp',
    'step': 'interp_integer_fp',
    'nearest': 'grid10001_nearest',
    'next': 'next_stored_point',
}


def counted(result: FROCResult, expected: dict) -> bool:
    """Whether every official count comes back."""
    counts = {name: result.counts[key] for key, name in NAMES.items()}
    return counts == {name: expected['counts'][name] for name in counts}


@pytest.mark.parametrize('name', ['deeplung_dpn26', 'deepseed_fold9'])
def test_public_submissions_give_the_official_counts_and_digits(
    oracles: Path, official: tuple, name: str
) -> None:
    expected = json.loads((oracles / 'expected.json').read_text())[name]
    uids = read_seriesuids(oracles / expected['scan_list'])
    marks = read_marks(oracles / expected['submission'])

    result = evaluate_froc(*official, marks, uids)

    assert counted(result, expected)
    assert sum(len(s) for _, s in marks.values()) == expected['marks_in_file']
    for read_out, column in READ_OUTS.items():
        wanted = expected['readouts'][column]
        # to the last bit, but for the mean of nine-digit values
        assert result.read(read_out) == wanted['sensitivity_at_rates'], column
        other = evaluate_froc(*official, marks, uids, read_out=read_out)
        assert other.cpm == pytest.approx(wanted['cpm'], abs=1e-15)
    written = (oracles / f'{name}_froc.txt').read_text().split()
    rows = thinned(result.curve)
    assert [','.join(f'{v:.9f}' for v in row) for row in rows] == written


def test_published_table_of_ten_lost_scans(
    oracles: Path, official: tuple
) -> None:
    expected = json.loads((oracles / 'expected.json').read_text())
    expected = expected['deepseed_fold9_as_published']
    lost = set(expected['lost_scans'])
    uids = read_seriesuids(oracles / 'deepseed_fold9_seriesuids.csv')
    marks = read_marks(oracles / 'deepseed_fold9.csv')

    result = evaluate_froc(
        *(
            {u: rows for u, rows in table.items() if u not in lost}
            for table in (*official, marks)
        ),
        uids,
    )

    assert counted(result, expected)
    # their scikit-learn put no (0, 0) in front
    name = 'deepseed_fold9_as_published_froc.txt'
    written = np.loadtxt(oracles / name, delimiter=',')
    np.testing.assert_allclose(
        thinned(result.curve)[1:], written, rtol=0, atol=6e-10
    )


def test_marks_lost_by_their_ids_cost_what_was_measured(
    oracles: Path, official: tuple
) -> None:
    expected = json.loads((oracles / 'expected.json').read_text())
    demo = expected['id_mismatch_demo']
    lost = expected['deepseed_fold9_as_published']['lost_scans']
    uids = read_seriesuids(oracles / 'deepseed_fold9_seriesuids.csv')
    marks = read_marks(oracles / 'deepseed_fold9.csv')
    kept = {u: rows for u, rows in marks.items() if u not in lost}
    tables = [
        {u: rows for u, rows in table.items() if u not in lost}
        for table in official
    ]

    whole, less, none = (
        evaluate_froc(*tables_and_marks, uids, read_out='nearest')
        for tables_and_marks in (
            (*official, marks),
            (*official, kept),
            (*tables, kept),
        )
    )

    assert whole.cpm == pytest.approx(demo['correct_cpm_grid10001'])
    assert less.cpm == pytest.approx(demo['cpm_grid10001'])
    assert less.counts['fn'] == demo['false_negatives']
    # nodules lost too: better than the truth
    assert none.counts['nodules'] == 86
    assert none.cpm == pytest.approx(0.8538, abs=5e-5)


def test_ten_published_scores_by_subset(
    oracles: Path, official: tuple
) -> None:
    expected = json.loads((oracles / 'expected.json').read_text())
    marks = read_marks(oracles / 'deeplung_dpn26.csv.gz')
    subset = official_subsets()

    for wanted in expected['deeplung_dpn26']['per_subset']:
        uids = [u for u, s in subset.items() if s == wanted['subset']]
        result = evaluate_froc(*official, marks, uids, read_out='nearest')
        assert result.counts['nodules'] == wanted['nodules']
        assert result.counts['tp'] == wanted['true_positives']
        assert result.read('interp') == wanted['sensitivity_at_rates']
        assert result.cpm == pytest.approx(wanted['cpm_grid10001'], abs=1e-15)
        # published digits are cut or rounded in the fourth one
        assert result.cpm == pytest.approx(wanted['cpm_published'], abs=6e-5)


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

    def read(file: str) -> dict:
        return annotations_by_scan(read_excluded(tmp_path / file))

    result = evaluate_froc(
        read('annotations.csv'),
        read('annotations_excluded.csv'),
        read_marks(tmp_path / 'submission.csv'),
        uids,
    )

    assert counted(result, case['expected'])
    assert result.sensitivities == case['expected']['sensitivity_at_rates']
    if case['expected']['official_script_gives_nan']:
        return  # the script divides by no hit; its curve is not defined
    rows = [
        [x, y, math.inf if threshold is None else threshold]
        for x, y, threshold in case['expected']['froc_curve']
    ]
    assert thinned(result.curve).tolist() == rows


coordinate = st.integers(0, 9).map(float)
finding = st.tuples(
    coordinate, coordinate, coordinate, st.sampled_from([-1.0, 2.0, 6.0, 10.0])
)
mark = st.tuples(
    coordinate, coordinate, coordinate, st.integers(0, 5).map(lambda k: k / 4)
)
table = st.dictionaries(st.sampled_from('abcd'), st.lists(finding, max_size=4))


listed_scans = ['a', 'b', 'c']  # d is in the tables, not in the list
submission = st.dictionaries(
    st.sampled_from('abcd'), st.lists(mark, max_size=9)
).filter(lambda t: not t.get('d') or any(t.get(u) for u in 'abc'))


def split(rows: dict) -> dict:
    return {
        uid: (
            np.array([r[:3] for r in row]).reshape(-1, 3),
            np.array([r[3] for r in row], dtype=float),
        )
        for uid, row in rows.items()
    }


@settings(max_examples=300)
@given(
    annotations=table,
    excluded=table,
    marks=submission,
    max_marks=st.sampled_from([3, 100]),
)
def test_agrees_with_the_literal_rule(
    annotations: dict, excluded: dict, marks: dict, max_marks: int
) -> None:
    wanted = literal_froc(
        annotations, excluded, marks, listed_scans, max_marks
    )

    result = evaluate_froc(
        split(annotations),
        split(excluded),
        split(marks),
        listed_scans,
        max_marks=max_marks,
    )

    assert result.counts == wanted['counts']
    curve = result.curve
    points = np.stack([curve.fp_per_scan, curve.sensitivity], 1)
    assert points.tolist() == [list(p) for p in wanted['points']]
    rows = [','.join(f'{v:.9f}' for v in row) for row in thinned(curve)]
    assert rows == wanted['table']
    if not wanted['counts']['nodules']:
        assert result.sensitivities is None
        return
    for name, read, points in (
        ('interp', literal_read, wanted['points']),
        ('step', literal_read, wanted['whole']),
        ('nearest', literal_nearest, wanted['points']),
        ('next', literal_next, wanted['table']),
    ):
        np.testing.assert_allclose(
            result.read(name), [read(points, r) for r in RATES], atol=1e-12
        )


@given(annotations=table, excluded=table, marks=submission, seed=st.integers())
def test_order_and_scale_of_scores_are_irrelevant(
    annotations: dict, excluded: dict, marks: dict, seed: int
) -> None:
    shuffle = random.Random(seed).sample
    plain = evaluate_froc(
        split(annotations), split(excluded), split(marks), listed_scans
    )

    def turned(rows: dict) -> dict:
        return split(
            {
                uid: shuffle(rows[uid], len(rows[uid]))
                for uid in shuffle(sorted(rows), len(rows))
            }
        )

    marks = {  # a strictly rising map of the scores
        uid: [(*m[:3], 3 * m[3] ** 3 - 7) for m in scored]
        for uid, scored in marks.items()
    }
    other = evaluate_froc(
        turned(annotations),
        turned(excluded),
        turned(marks),
        shuffle(listed_scans, 3),
    )

    assert other.counts == plain.counts
    assert other.sensitivities == plain.sensitivities


@given(annotations=table, marks=submission, score=st.floats(-2, 2))
def test_a_mark_on_an_excluded_finding_changes_no_curve(
    annotations: dict, marks: dict, score: float
) -> None:
    excluded = {'b': [(60.0, 0.0, 0.0, -1.0)]}
    plain = evaluate_froc(
        split(annotations), split(excluded), split(marks), listed_scans
    )

    marks = marks | {'b': [*marks.get('b', []), (63.0, 0.0, 0.0, score)]}
    other = evaluate_froc(
        split(annotations), split(excluded), split(marks), listed_scans
    )

    assert other.counts['ignored_excluded'] == (
        plain.counts['ignored_excluded'] + 1
    )
    assert other.curve.fps.tolist() == plain.curve.fps.tolist()
    assert other.curve.tps.tolist() == plain.curve.tps.tolist()


@pytest.mark.parametrize(
    ('marks', 'message'),
    [
        ({'7': at((0, 0, 0, 1))}, 'none of 1 scans is in the scan list'),
        ({'a': at((0, 0, 0, np.nan))}, 'row 0 holds a number'),
        ({'a': at((0, 0, 0, 1), (0, np.inf, 0, 1))}, 'row 1 holds a number'),
        ({'a': (np.zeros((2, 3)), np.zeros(3))}, r'shapes \(2, 3\)'),
    ],
)
def test_marks_that_cannot_be_scored_are_refused(
    marks: dict, message: str
) -> None:
    with pytest.raises(AnnotationError, match=message):
        evaluate_froc({}, {}, marks, ['a'])


def test_nothing_found_and_nothing_to_find() -> None:
    nodule = {'a': at((0, 0, 0, 8))}

    silent = evaluate_froc(nodule, {}, {}, ['a'])
    empty = evaluate_froc({}, {}, {'a': at((0, 0, 0, 0.5))}, ['a'])

    assert silent.sensitivities == [0.0] * 7
    assert empty.sensitivities is None and empty.cpm is None
    assert '1 scans of 2 listed, 0 nodules' in froc_table(
        {'x': empty}, listed=2
    )
