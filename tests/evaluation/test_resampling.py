from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal

from lungdet.evaluation import RATES, thinned
from lungdet.evaluation.curve import read_interp
from lungdet.evaluation.resampling import RankedScores
from tests.evaluation.toy_result import UIDS, toy_result
from tests.oracles.froc_literal import literal_bootstrap_sample


def test_a_resample_is_the_curve_of_copied_scans(
    rng: np.random.Generator,
) -> None:
    result = toy_result(rng)
    ranked = RankedScores.of(result)
    tp = {u: m.tp_scores.tolist() for u, m in result.matches.items()}
    fp = {u: m.fp_scores.tolist() for u, m in result.matches.items()}
    nodules = {u: m.nodules for u, m in result.matches.items()}
    assert 0 < result.counts['tp'] < result.counts['nodules']

    for _ in range(20):
        drawn = rng.integers(len(UIDS), size=len(UIDS))
        times = np.bincount(drawn, minlength=len(UIDS))
        curve = ranked.curve(times)
        wanted, table = literal_bootstrap_sample(
            tp, fp, nodules, [UIDS[k] for k in drawn], list(RATES)
        )
        np.testing.assert_allclose(
            read_interp(curve, RATES), wanted, atol=1e-12
        )
        rows = [','.join(f'{v:.9f}' for v in row) for row in thinned(curve)]
        assert rows == table


def test_every_scan_once_is_the_result_itself(
    rng: np.random.Generator,
) -> None:
    result = toy_result(rng)
    ranked = RankedScores.of(result)

    curve = ranked.curve(np.ones(len(UIDS), dtype=int))

    for name in ('threshold', 'tps', 'fps'):
        assert_array_equal(getattr(curve, name), getattr(result.curve, name))
    assert (curve.nodules, curve.scans) == (22, 23)
