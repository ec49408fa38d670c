from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lungdet.evaluation import (
    RATES,
    FROCResult,
    bootstrap_froc,
    evaluate_froc,
    official_bootstrap,
)
from lungdet.evaluation.bootstrap import RankedScores
from lungdet.evaluation.curve import read_interp
from lungdet.io.luna16 import (
    as_arrays,
    read_annotations,
    read_excluded,
    read_marks,
    read_seriesuids,
)
from tests.oracles.froc_literal import literal_bootstrap_sample

UIDS = [f's{k}' for k in range(23)]


def toy(rng: np.random.Generator) -> FROCResult:
    """Scans of 0 to 2 nodules, ties, misses, and marks beside them."""
    nodules, marks = {}, {}
    for k, uid in enumerate(UIDS):
        count = k % 3
        nodules[uid] = (
            np.array([[90.0 * i, 0, 0] for i in range(count)]).reshape(-1, 3),
            np.full(count, 8.0),
        )
        places = rng.integers(0, 4, size=(5, 1)) * [[45.0, 0, 0]]
        marks[uid] = places, rng.integers(0, 9, size=5) / 8
    return evaluate_froc(nodules, {}, marks, UIDS)


def test_a_draw_is_the_curve_of_copied_scans(
    rng: np.random.Generator,
) -> None:
    result = toy(rng)
    ranked = RankedScores.of(result)
    tp = {u: m.tp_scores.tolist() for u, m in result.matches.items()}
    fp = {u: m.fp_scores.tolist() for u, m in result.matches.items()}
    nodules = {u: m.nodules for u, m in result.matches.items()}
    assert 0 < result.counts['tp'] < result.counts['nodules']

    for _ in range(20):
        drawn = rng.integers(len(UIDS), size=len(UIDS))
        times = np.bincount(drawn, minlength=len(UIDS))
        found = read_interp(ranked.curve(times), RATES)
        wanted = literal_bootstrap_sample(
            tp, fp, nodules, [UIDS[k] for k in drawn], list(RATES)
        )
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_every_scan_once_is_the_result_itself(
    rng: np.random.Generator,
) -> None:
    result = toy(rng)
    ranked = RankedScores.of(result)

    curve = ranked.curve(np.ones(len(UIDS), dtype=int))

    for name in ('threshold', 'tps', 'fps'):
        assert_array_equal(getattr(curve, name), getattr(result.curve, name))
    assert (curve.nodules, curve.scans) == (22, 23)


def test_intervals_are_seeded_and_hold_the_estimates(
    rng: np.random.Generator,
) -> None:
    result = toy(rng)

    found = bootstrap_froc(result, samples=300, seed=5)

    assert found.samples == 300
    assert found.cpm[0] < result.cpm < found.cpm[1]
    for (low, high), value in zip(found.sensitivities, result.sensitivities):
        assert low <= value <= high
    again = bootstrap_froc(result, samples=300, seed=5)
    assert again.to_dict() == found.to_dict()
    assert bootstrap_froc(result, samples=300, seed=6).cpm != found.cpm
    # the band at 1/8 and 8, its ends, is the interval at these rates
    assert found.band_lower[0] == pytest.approx(found.sensitivities[0][0])
    assert found.band_upper[-1] == pytest.approx(found.sensitivities[-1][1])


def test_binomial_width_of_independent_nodules() -> None:
    # 200 scans of one nodule, 100 found and no false positive: every
    # sensitivity has the spread sqrt(.5 * .5 / 200) = .0354, so the interval
    # is .5 -+ 1.96 * .0354 = .431 to .569
    uids = [str(k) for k in range(200)]
    nodules = {u: (np.zeros((1, 3)), np.array([8.0])) for u in uids}
    marks = {u: (np.zeros((1, 3)), np.array([0.7])) for u in uids[::2]}
    result = evaluate_froc(nodules, {}, marks, uids)

    low, high = bootstrap_froc(result, samples=2000).cpm

    assert low == pytest.approx(0.431, abs=0.012)
    assert high == pytest.approx(0.569, abs=0.012)


def test_nothing_to_draw_has_no_interval() -> None:
    empty = evaluate_froc({}, {}, {}, ['a'])

    assert bootstrap_froc(empty) is None


def test_the_official_bootstrap_file_is_reproduced(test_data: Path) -> None:
    folder = test_data / 'froc-oracles'
    expected = json.loads((folder / 'expected.json').read_text())
    rows = expected['deepseed_fold9']['bootstrap']['rows']
    uids = read_seriesuids(folder / 'deepseed_fold9_seriesuids.csv')
    tables = [
        {uid: as_arrays(found) for uid, found in table.items()}
        for table in (
            read_annotations(folder / 'annotations.csv'),
            read_excluded(folder / 'annotations_excluded.csv'),
        )
    ]
    marks = read_marks(folder / 'deepseed_fold9.csv')
    result = evaluate_froc(*tables, marks, uids)

    own = official_bootstrap(result, rng=np.random.RandomState(0))

    for row in rows:
        wanted = [row[k] for k in ('fp_rate', 'mean', 'lower', 'upper')]
        np.testing.assert_allclose(own[row['index']], wanted, atol=1e-6)
