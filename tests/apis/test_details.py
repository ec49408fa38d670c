from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from lungdet.apis.details import write_details
from lungdet.apis.submission_files import load_reference, load_submission
from lungdet.evaluation import Submission, evaluate_submission
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.structures import Annotation, CaseRecord, ReferenceSet

HEAD = 'seriesuid,coordX,coordY,coordZ,'


def test_tables_and_pictures_of_prepared_scans(tmp_path: Path) -> None:
    # scan a is prepared, b is not; the second false positive of a lies
    # outside the prepared region
    (tmp_path / 'n.csv').write_text(
        f'{HEAD}diameter_mm\na,10,12,14,8\nb,1,2,3,9\n'
    )
    (tmp_path / 'x.csv').write_text(f'{HEAD}diameter_mm\n')
    (tmp_path / 's.csv').write_text('a\nb\n')
    (tmp_path / 'm.csv').write_text(
        f'{HEAD}probability\n'
        'a,30,30,30,.7\na,900,0,0,.8\nb,9,9,9,.9\na,10,13,14,.6\n'
    )
    grid = Geometry.from_parts(
        (50, 60, 70), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    record = CaseRecord('a', None, grid, grid, 1.0, [], [], 'computed')
    arrays = {
        'image': np.full(grid.shape, -800, np.int16),
        'lungs': np.ones(grid.shape, np.uint8),
    }
    write_case(tmp_path / 'cases', record, arrays)
    rebuild_index(tmp_path / 'cases')
    reference = load_reference(*(tmp_path / f'{n}.csv' for n in 'nxs'))
    report = evaluate_submission(
        load_submission(tmp_path / 'm.csv', reference), reference
    )

    written = write_details(
        report, tmp_path / 'out', store=CaseStore(tmp_path / 'cases')
    )

    assert {path.name for path in written} == {
        'scans.csv',
        'nodules.csv',
        'false_positives.csv',
        'calibration.png',
        'nodules.png',
        'false_positives.png',
    }
    with open(tmp_path / 'out' / 'nodules.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(r['seriesuid'], r['probability']) for r in rows] == [
        ('b', ''),
        ('a', '0.6'),
    ]
    with open(tmp_path / 'out' / 'false_positives.csv', newline='') as file:
        assert [r['probability'] for r in csv.DictReader(file)] == [
            '0.9',
            '0.8',
            '0.7',
        ]
    for path in written:
        assert path.stat().st_size > 50


def test_pictures_of_an_earlier_submission_do_not_stay(
    tmp_path: Path,
) -> None:
    nodules = {'a': [Annotation((0.0, 0.0, 0.0), 8.0)]}
    reference = ReferenceSet('toy', nodules, {}, ('a',))
    for score in (0.5, -3.0):  # the second one is not a probability
        marks = {'a': (np.zeros((1, 3)), np.array([score]))}
        report = evaluate_submission(Submission('x', marks), reference)
        write_details(report, tmp_path, store=None)
        names = {path.name for path in tmp_path.glob('*.png')}
        assert names == ({'calibration.png'} if score > 0 else set())
    # nothing false: a header alone
    (header,) = (tmp_path / 'false_positives.csv').read_text().splitlines()
    assert header == f'{HEAD}probability'
