"""Rows of reports that are known, as text, CSV, JSON and figure."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.apis.ablation_table import AblationTable, compared_row
from lungdet.evaluation import (
    Caveat,
    EvaluationOptions,
    EvaluationReport,
    Submission,
    evaluate_submission,
)
from lungdet.evaluation.report import TESTED_RUN
from lungdet.structures import Annotation, ReferenceSet
from tests.schemas import assert_valid

UIDS = tuple(f's{k}' for k in range(12))


def report_of(hits: int, uids: tuple[str, ...] = UIDS) -> EvaluationReport:
    """Scans of one nodule: some are hit, and there is nothing else."""
    nodule = Annotation((0.0, 0.0, 0.0), 8.0)
    marks = {
        uid: (np.array([[0.0, 0, 0]]), np.array([0.9])) for uid in uids[:hits]
    }
    return evaluate_submission(
        Submission('run', marks),
        ReferenceSet('toy', {uid: [nodule] for uid in uids}, {}, uids),
        EvaluationOptions(bootstrap=0),
    )


def table_of(*rows: tuple[EvaluationReport, ...]) -> AblationTable:
    done: list = []
    for number, seeds in enumerate(rows):
        done.append(
            compared_row(
                f'row{number}',
                seeds,
                done[0] if done else None,
                parameters=1000 * (number + 1),
                hours=0.25,
                unit='CPU',
            )
        )
    return AblationTable(tuple(done))


def test_a_row_is_the_mean_of_its_seeds_and_is_compared_with_the_first() -> (
    None
):
    table = table_of((report_of(6), report_of(9)), (report_of(12),) * 2)

    base, other = table.rows
    # without false positives every sensitivity is the fraction that is hit
    assert base.cpms == pytest.approx([6 / 12, 9 / 12])
    assert base.cpm == pytest.approx(7.5 / 12)
    assert base.sensitivities == pytest.approx([7.5 / 12] * 7)
    assert base.difference is None
    assert other.difference.cpm == pytest.approx(4.5 / 12)
    low, high = base.intervals.cpm
    assert low < 7.5 / 12 < high


def test_files_hold_what_the_rows_say(tmp_path: Path) -> None:
    caveat = Caveat(TESTED_RUN, 2, 'trained on 2 of these scans')
    tainted = replace(report_of(12), caveats=(caveat,))
    table = table_of((report_of(6),), (tainted,))

    table.write(tmp_path)

    lines = (tmp_path / 'ablation.csv').read_text().splitlines()
    rows = list(csv.DictReader(lines))
    assert [row['row'] for row in rows] == ['row0', 'row1']
    assert [row['CPM'] for row in rows] == ['0.5000', '1.0000']
    assert [row['1/8'] for row in rows] == ['0.5000', '1.0000']
    assert [row['difference'] for row in rows] == ['', '0.5000']
    assert [row['parameters'] for row in rows] == ['1000', '2000']
    assert [row['caveats'] for row in rows] == ['', caveat.text]
    text = (tmp_path / 'ablation.txt').read_text()
    assert text == table.text() + '\n'
    assert '12 scans of 12 listed, 12 nodules, 1 seeds' in text
    assert f'row1: {caveat.text}' in text
    written = json.loads((tmp_path / 'ablation.json').read_text())
    assert_valid('ablation', written)
    assert written == {
        row.name: [report.to_dict() for report in row.seeds]
        for row in table.rows
    }
    assert (tmp_path / 'ablation.png').stat().st_size > 5000


def test_few_scans_are_said_once_for_all_rows() -> None:
    few = report_of(1, UIDS[:3])
    table = table_of((few, few), (report_of(2, UIDS[:3]),) * 2)

    (caveat,) = table.caveats

    assert caveat.startswith('the intervals rest on 3 scans')
    assert table.text().count(caveat) == 1
    assert table_of((report_of(6),)).caveats == []
