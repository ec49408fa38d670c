from __future__ import annotations

from lungdet.evaluation import (
    evaluate_froc,
    false_positive_lines,
    nodule_lines,
    scan_lines,
)
from tests.evaluation.points import at

NODULES = {
    'a': at((0, 0, 0, 8), (70, 0, 0, 5)),
    'b': at((7, 8, 9, 6), (70, 8, 9, 12)),
}
MARKS = {
    'a': at((0, 1, 0, 0.9), (0, 0, 1, 0.3), (30, 0, 0, 0.7)),
    'b': at((7, 8, 8, 0.4), (1, 1, 50, 0.6), (2, 1, 50, 0.8), (3, 1, 50, 0.2)),
}


def test_lines_add_up_to_the_counts() -> None:
    result = evaluate_froc(NODULES, {}, MARKS, ['a', 'b', 'c'], max_marks=3)

    lines = scan_lines(result)

    assert [line['seriesuid'] for line in lines] == ['a', 'b', 'c']
    for column, count in (
        ('nodules', 'nodules'),
        ('detected', 'tp'),
        ('false_positives', 'fp'),
        ('ignored_double', 'ignored_double'),
    ):
        assert sum(line[column] for line in lines) == result.counts[count]
    assert sum(line['marks_cut'] for line in lines) == 1
    # three false positives on three scans: all are kept at 1 per scan
    assert sum(line['false_positives_at_1'] for line in lines) == 3


def test_a_threshold_of_one_per_scan_keeps_no_more() -> None:
    # false positives .8, .7, .6, .2 on 2 scans: 1 per scan keeps .8 and .7,
    # and the hit .4 comes later; .7 is the last score kept
    result = evaluate_froc(NODULES, {}, MARKS, ['a', 'b'])

    lines = scan_lines(result)

    assert result.threshold_at(1.0) == 0.7
    assert sum(line['false_positives_at_1'] for line in lines) == 2
    assert [line['detected_at_1'] for line in lines] == [1, 0]


def test_hardest_nodules_and_worst_false_positives_come_first() -> None:
    result = evaluate_froc(NODULES, {}, MARKS, ['a', 'b'])

    nodules = nodule_lines(result, NODULES)
    false = false_positive_lines(result, MARKS, limit=3)

    # never hit, 12 mm then 5 mm; then .4 after three false positives
    assert [line['diameter_mm'] for line in nodules] == [12, 5, 6, 8]
    assert [line['probability'] for line in nodules] == ['', '', 0.4, 0.9]
    assert [line['fp_per_scan'] for line in nodules] == ['', '', 1.5, 0]
    assert [line['probability'] for line in false] == [0.8, 0.7, 0.6]
    assert false[0] == {
        'seriesuid': 'b',
        'coordX': 2.0,
        'coordY': 1.0,
        'coordZ': 50.0,
        'probability': 0.8,
    }
