from __future__ import annotations

import numpy as np

from lungdet.evaluation import (
    Bootstrap,
    Difference,
    difference_table,
    evaluate_froc,
    froc_table,
    mask_table,
)
from tests.evaluation.points import at


def cells(text: str) -> list[list[str]]:
    """The stripped cells of every row of a table."""
    return [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in text.splitlines()
        if line.startswith('|')
    ]


NODULE = {'a': at((0, 0, 0, 8))}
MARKS = {'a': at((0, 0, 0, 0.9), (30, 0, 0, 0.75))}
ONE = evaluate_froc(NODULE, {}, MARKS, ['a', 'b'])


def test_rows_bounds_and_lowest_scores() -> None:
    band = np.zeros(2)
    bounds = Bootstrap(5, (0.5, 1.0), [(0.25, 1.0)] * 7, band, band, band)

    text = froc_table({'run': ONE}, listed=3, bootstraps={'run': bounds})

    header, run, lower, upper, score = cells(text)
    assert header == 'FP/scan 1/8 1/4 1/2 1 2 4 8 CPM'.split()
    assert run == ['run', *['1.000'] * 8]
    assert lower == ['lower bound', *['0.250'] * 7, '0.500']
    assert upper == ['upper bound', *['1.000'] * 8]
    # one false positive on two scans is allowed from 1/2 on
    assert score == ['score', '0.9', '0.9', *['0.75'] * 5, '']
    assert text.endswith('2 scans of 3 listed, 1 nodules')


def test_rows_of_other_scans_say_how_many() -> None:
    other = evaluate_froc(NODULE, {}, {}, ['a'])

    text = froc_table({'all': ONE, 'part': other}, listed=2)

    rows = cells(text)
    assert rows[0][-2:] == ['scans', 'nodules']
    assert [row[-2:] for row in rows[1:]] == [
        ['2', '1'],
        ['', ''],
        ['1', '1'],
        ['', ''],
    ]
    assert rows[-1][1:-3] == ['-'] * 7  # no score is high enough


def test_both_readings_where_a_step_lies_at_a_rate() -> None:
    # see test_checks: 11 of 1358 false positives on 88 scans, then the hit
    rows = [(9, 9, -9, 1 - k / 2000) for k in range(1358)]
    marks = {'a': at((0, 0, 0, 1 - 10.5 / 2000), *rows)}
    uids = ['a', *(f'x{k}' for k in range(87))]

    for read_out, first, other in (
        ('interp', '0.000', ['by step', '1.000']),
        ('step', '1.000', ['by interp', '0.000']),
    ):
        result = evaluate_froc(
            NODULE, {}, marks, uids, max_marks=None, read_out=read_out
        )
        rows = cells(froc_table({'run': result}, listed=88))
        assert rows[1][:2] == ['run', first]
        assert rows[2][:2] == other


def test_differences_carry_signs_and_p() -> None:
    difference = Difference(
        9,
        -0.5,
        (-0.75, 0.25),
        0.125,
        [-0.5] * 7,
        [(-1.0, 0.5)] * 7,
        [0.25] * 7,
    )

    rows = cells(difference_table(difference, ONE.rates))

    assert rows[1:] == [
        ['difference', *['-0.500'] * 8],
        ['lower bound', *['-1.000'] * 7, '-0.750'],
        ['upper bound', *['+0.500'] * 7, '+0.250'],
        ['p', *['0.250'] * 7, '0.125'],
    ]


def test_masks_one_scope_per_row() -> None:
    rows = cells(
        mask_table(
            {
                'all': {'dice': (0.5, 4)},
                'scan': {'dice': (0.25, 2), 'surface_mm': (1.5, 1)},
            }
        )
    )

    assert rows == [
        ['masks', 'dice', 'surface_mm', 'of'],
        ['all', '0.500', '-', '4'],
        ['scan', '0.250', '1.500 (1)', '2'],
    ]
