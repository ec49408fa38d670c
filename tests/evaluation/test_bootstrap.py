from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lungdet.errors import ConfigError
from lungdet.evaluation import (
    RATES,
    annotations_by_scan,
    bootstrap_froc,
    evaluate_froc,
    official_bootstrap,
    paired_bootstrap,
    summarise,
)
from lungdet.io.luna16 import (
    read_annotations,
    read_excluded,
    read_marks,
    read_seriesuids,
)
from tests.evaluation.toy_result import UIDS, toy_result
from tests.oracles.froc_literal import (
    literal_bootstrap,
    literal_bootstrap_sample,
)


def test_intervals_are_seeded_and_hold_the_estimates(
    rng: np.random.Generator,
) -> None:
    result = toy_result(rng)

    interval = bootstrap_froc(result, resamples=300, seed=5)

    assert interval.resamples == 300
    assert interval.cpm[0] < result.cpm < interval.cpm[1]
    for (low, high), value in zip(
        interval.sensitivities, result.sensitivities
    ):
        assert low <= value <= high
    again = bootstrap_froc(result, resamples=300, seed=5)
    assert again.to_dict() == interval.to_dict()
    assert bootstrap_froc(result, resamples=300, seed=6).cpm != interval.cpm
    # the band at 1/8 and 8, its ends, is the interval at these rates
    assert interval.band_lower[0] == pytest.approx(
        interval.sensitivities[0][0]
    )
    assert interval.band_upper[-1] == pytest.approx(
        interval.sensitivities[-1][1]
    )


def test_binomial_width_of_independent_nodules() -> None:
    # 200 scans of one nodule, 100 detected and no false positive: every
    # sensitivity has the spread sqrt(.5 * .5 / 200) = .0354, so the interval
    # is .5 -+ 1.96 * .0354 = .431 to .569
    uids = [str(k) for k in range(200)]
    nodules = {u: (np.zeros((1, 3)), np.array([8.0])) for u in uids}
    marks = {u: (np.zeros((1, 3)), np.array([0.7])) for u in uids[::2]}
    result = evaluate_froc(nodules, {}, marks, uids)

    low, high = bootstrap_froc(result, resamples=2000).cpm

    assert low == pytest.approx(0.431, abs=0.012)
    assert high == pytest.approx(0.569, abs=0.012)


def test_nothing_to_resample_has_no_interval() -> None:
    empty = evaluate_froc({}, {}, {}, ['a'])

    assert bootstrap_froc(empty) is None


def test_the_official_bootstrap_file_is_reproduced(test_data: Path) -> None:
    folder = test_data / 'froc-oracles'
    expected = json.loads((folder / 'expected.json').read_text())
    rows = expected['deepseed_fold9']['bootstrap']['rows']
    uids = read_seriesuids(folder / 'deepseed_fold9_seriesuids.csv')
    tables = [
        annotations_by_scan(table)
        for table in (
            read_annotations(folder / 'annotations.csv'),
            read_excluded(folder / 'annotations_excluded.csv'),
        )
    ]
    marks = read_marks(folder / 'deepseed_fold9.csv')
    result = evaluate_froc(*tables, marks, uids)

    band = official_bootstrap(result, rng=np.random.RandomState(0))

    for row in rows:
        wanted = [row[k] for k in ('fp_rate', 'mean', 'lower', 'upper')]
        np.testing.assert_allclose(band[row['index']], wanted, atol=1e-6)


def test_draws_equal_those_that_copy_entries(
    rng: np.random.Generator,
) -> None:
    result = toy_result(rng)
    matches = result.matches

    wanted = literal_bootstrap(
        {u: m.tp_scores for u, m in matches.items()},
        {u: m.fp_scores for u, m in matches.items()},
        {u: m.nodules - len(m.tp_scores) for u, m in matches.items()},
        UIDS,
        np.random.RandomState(3),
        40,
    )

    band = official_bootstrap(
        result, rng=np.random.RandomState(3), resamples=40
    )
    wanted.sort(axis=0)
    np.testing.assert_allclose(band[:, 1], wanted.mean(0), atol=1e-6)
    assert_array_equal(band[:, 2:], wanted[[1, 39]].T)


def test_equal_systems_do_not_differ(rng: np.random.Generator) -> None:
    result = toy_result(rng)

    difference = paired_bootstrap(result, result, resamples=50)

    assert difference.cpm == 0 and difference.cpm_interval == (0, 0)
    assert difference.cpm_p == 1 and difference.p == [1] * 7


def test_paired_resamples_take_the_same_scans(
    rng: np.random.Generator,
) -> None:
    # the second system misses what the first one finds on s2, s5, ...; draw
    # by draw the difference is that of the curves of the same copied scans
    first = toy_result(rng)
    lost = {
        u: replace(m, hits=np.zeros_like(m.hits)) if k % 6 == 5 else m
        for k, (u, m) in enumerate(first.matches.items())
    }
    second = summarise(lost, UIDS)
    generator = np.random.default_rng(4)
    wanted = []
    for _ in range(60):
        drawn = [
            UIDS[k] for k in generator.integers(len(UIDS), size=len(UIDS))
        ]
        readings = [
            literal_bootstrap_sample(
                {u: r.matches[u].tp_scores.tolist() for u in UIDS},
                {u: r.matches[u].fp_scores.tolist() for u in UIDS},
                {u: r.matches[u].nodules for u in UIDS},
                drawn,
                list(RATES),
            )[0]
            for r in (first, second)
        ]
        wanted.append(np.mean(readings[0]) - np.mean(readings[1]))

    difference = paired_bootstrap(first, second, resamples=60, seed=4)

    assert difference.cpm == pytest.approx(first.cpm - second.cpm)
    np.testing.assert_allclose(
        difference.cpm_interval, np.percentile(wanted, [2.5, 97.5])
    )
    below = (np.array(wanted) <= 0).sum()
    assert difference.cpm_p == pytest.approx(min(1, 2 * (1 + below) / 61))


def test_chance_differences_are_rarely_significant() -> None:
    # two systems that find each nodule with the same probability: p below
    # .1 in about a tenth of 30 trials; 10 or more have a chance of 5e-4
    rng = np.random.default_rng(8)
    uids = [str(k) for k in range(60)]
    nodules = {u: (np.zeros((1, 3)), np.array([8.0])) for u in uids}
    small = 0
    for _ in range(30):
        one, two = (
            evaluate_froc(
                nodules,
                {},
                {
                    u: (np.zeros((1, 3)), np.array([0.7]))
                    for u in uids
                    if rng.random() < 0.6
                },
                uids,
            )
            for _ in range(2)
        )
        small += paired_bootstrap(one, two, resamples=100).cpm_p < 0.1
    assert 1 <= small < 10


def test_systems_scored_differently_are_not_compared(
    rng: np.random.Generator,
) -> None:
    result = toy_result(rng)

    for other in (
        replace(result, seriesuids=result.seriesuids[::-1]),
        replace(result, rates=(1.0,)),
        replace(result, read_out='step'),
        replace(result, max_marks=5),
        summarise(result.matches, UIDS[1:]),
    ):
        with pytest.raises(ConfigError, match='score both against the same'):
            paired_bootstrap(result, other)


def test_runs_of_one_system_are_averaged_in_each_resample() -> None:
    rng = np.random.default_rng(2)
    uids = [str(k) for k in range(12)]
    truth = {u: (rng.uniform(0, 60, (2, 3)), np.full(2, 9.0)) for u in uids}

    def run(fraction: float):
        marks = {}
        for uid, (centers, _) in truth.items():
            kept = centers[rng.random(2) < fraction]
            points = np.concatenate([kept, rng.uniform(90, 200, (3, 3))])
            marks[uid] = points, rng.random(len(points))
        return evaluate_froc(truth, {}, marks, uids)

    a, b, c = run(0.9), run(0.7), run(0.3)

    both = paired_bootstrap([a, b], [c], resamples=50)
    alone = [paired_bootstrap(x, c, resamples=50) for x in (a, b)]

    assert both.cpm == pytest.approx(np.mean([d.cpm for d in alone]))
    same = paired_bootstrap([a], [c], resamples=50)
    assert same == alone[0]
