from __future__ import annotations

from lungdet.io.reference_set import official_subsets
from lungdet.prepare import Summary
from tests.io.cases import make_case


def test_table_counts_and_names_caveats_and_failures() -> None:
    uid = next(iter(official_subsets()))
    record, _ = make_case(uid)
    summary = Summary(
        [record],
        {'9.9': 'cut off'},
        skipped=4,
        official_uids=[uid],
        caveats=['one list is not there'],
    )

    lines = [line.replace(' ', '') for line in summary.table().splitlines()]

    for line in ('|alreadydone|4|', '|nodules|1|', '|nodules|1of1,186|'):
        assert line in lines
    assert lines[-3:] == [
        'caveat:onelistisnotthere',
        'failed:9.9:cutoff',
        f'caveat:{uid}:slice3wasmissing',
    ]
