from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import AnnotationError
from lungdet.evaluation import (
    diameter_labels,
    evaluate_froc,
    strata_by_nodule,
    strata_by_scan,
)
from tests.evaluation.points import at

UIDS = ['a', 'b', 'c']


NODULES = {
    'a': at((0, 0, 0, 5.9), (50, 0, 0, 6)),
    'b': at((0, 0, 0, 10), (50, 0, 0, 10.1)),
}
MARKS = {
    'a': at((0, 1, 0, 0.9), (50, 1, 0, 0.5), (90, 0, 0, 0.7)),
    'b': at((50, 1, 0, 0.8)),
    'c': at((9, 9, 9, 0.95), (30, 9, 9, 0.6)),
}


def test_nodule_strata_share_scans_and_false_positives() -> None:
    result = evaluate_froc(NODULES, {}, MARKS, UIDS)
    labels = diameter_labels({u: d for u, (_, d) in NODULES.items()})

    strata = strata_by_nodule(result, labels)

    assert list(strata) == ['< 6 mm', '6-10 mm', '> 10 mm']
    assert [s.curve.nodules for s in strata.values()] == [1, 2, 1]
    assert [s.counts['tp'] for s in strata.values()] == [1, 1, 1]
    for stratum in strata.values():
        assert stratum.counts['scans'] == 3
        assert stratum.counts['fp'] == 3
    # false positives .95, .7, .6 over 3 scans; the hit of the middle one,
    # .5, comes after all three: 0 up to 1 per scan, then 1 of 2
    assert strata['6-10 mm'].sensitivities == [0, 0, 0, 0.5, 0.5, 0.5, 0.5]
    # .9 comes after the first false positive, at 1/3 per scan
    assert strata['< 6 mm'].sensitivities[:3] == [0, 0, 1]


def test_scan_strata_have_their_own_denominators() -> None:
    result = evaluate_froc(NODULES, {}, MARKS, UIDS, read_out='step')

    strata = strata_by_scan(result, {'a': '2.5', 'b': '1.25'})

    assert list(strata) == ['1.25', '2.5', 'unknown']
    assert strata['1.25'].seriesuids == ('b',)
    assert strata['1.25'].counts == {
        'scans': 1,
        'nodules': 2,
        'tp': 1,
        'fp': 0,
        'fn': 1,
        'candidates': 1,
        'ignored_excluded': 0,
        'ignored_double': 0,
    }
    assert strata['unknown'].cpm is None  # two marks, no nodule
    assert strata['2.5'].read_out == 'step'
    alone = evaluate_froc(NODULES, {}, {'a': MARKS['a']}, ['a'])
    assert strata['2.5'].sensitivities == alone.sensitivities


@given(
    scores=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    parts=st.lists(st.sampled_from('xy'), min_size=4, max_size=4),
)
def test_strata_of_nodules_add_up(scores: list, parts: list) -> None:
    # detected nodules below any threshold: the sum over the strata
    marks = {
        'a': at(*[(50 * k, 1, 0, s) for k, s in enumerate(scores[:2])]),
        'b': at(*[(50 * k, 1, 0, s) for k, s in enumerate(scores[2:])]),
        'c': MARKS['c'],
    }
    result = evaluate_froc(NODULES, {}, marks, UIDS)

    strata = strata_by_nodule(result, {'a': parts[:2], 'b': parts[2:]})

    for score in range(10):
        kept = [
            int(s.curve.tps[s.curve.threshold >= score][-1])
            for s in [result, *strata.values()]
        ]
        assert kept[0] == sum(kept[1:])


def test_unknown_diameters_and_too_many_groups() -> None:
    labels = diameter_labels({'a': np.array([-1.0, np.nan, 7.0])})
    assert labels == {'a': ['unknown', 'unknown', '6-10 mm']}

    result = evaluate_froc(NODULES, {}, MARKS, UIDS)
    empty = strata_by_nodule(result, {'a': ['', 'x'], 'b': ['x', '']})
    assert [*empty] == ['unknown', 'x']
    with pytest.raises(AnnotationError, match='a has 2 nodules and 1 lab'):
        strata_by_nodule(result, {'a': ['x'], 'b': ['x', 'y']})
    many = [str(k) for k in range(21)]
    wide = evaluate_froc({}, {}, {}, many)
    with pytest.raises(AnnotationError, match='21 different values'):
        strata_by_scan(wide, {uid: uid for uid in many})
