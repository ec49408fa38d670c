from __future__ import annotations

import numpy as np

from lungdet.evaluation.scan_lists import check_intervals, check_scan_list

ONE = np.zeros((1, 3)), np.array([8.0])
UIDS = [f's{k}' for k in range(4)]


def test_listed_scans_that_no_table_names() -> None:
    nodules = {'s0': ONE}
    excluded = {uid: ONE for uid in UIDS}

    (caveat,) = check_scan_list(nodules, excluded, [*UIDS[:3], '000'])

    assert caveat.name == 'scans-in-no-table' and caveat.count == 1
    assert "1 of 4 listed scans are in no reference table (first: '000'" in (
        caveat.text
    )
    assert not check_scan_list(nodules, excluded, UIDS)
    # tables without exclusions name no scan that has no nodule
    assert not check_scan_list(nodules, {}, UIDS)


def test_intervals_of_few_scans() -> None:
    (two,) = check_intervals([1, 2], {})
    assert two.name == 'few-scans' and two.count == 2
    assert 'rest on 2 scans, 2 of them with nodules' in two.text
    (many,) = check_intervals([0] * 100 + [1] * 9, {})
    assert '109 scans, 9 of them' in many.text
    assert not check_intervals([1] * 10, {})
    assert not check_intervals([0] * 3, {})
    (group,) = check_intervals([1] * 20, {'x': [1] * 11, 'y': [1] * 9})
    assert '1 strata rest on fewer than 10 scans' in group.text
    assert "first: 'y'" in group.text
