from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.io.reference_set import official_subsets
from lungdet.prepare import prepare_folder, prepare_luna16
from lungdet.prepare.official import official_counts


def test_official_numbers_are_those_of_the_challenge() -> None:
    counts = official_counts([], official_subsets())

    assert {k: n for k, (_, n) in counts.items()} == {
        'scans': 888,
        'with nodules': 601,
        'nodules': 1186,
        'excluded findings': 35192,
    }
    sizes = np.bincount(list(official_subsets().values()))
    assert sorted(sizes.tolist()) == [88, 88] + [89] * 8


def test_counts_leave_out_scans_that_are_not_official(
    scans: Path, tmp_path: Path
) -> None:
    summary = prepare_folder(scans, tmp_path / 'out', progress=False)
    first, second = sorted(official_subsets())[:2]
    records = list(summary.records)
    for uid in (first, second):
        records.append(replace(records[0], series_uid=uid))

    counts = official_counts(records, {first})

    assert counts['scans'] == (1, 888)
    subset = official_subsets()[first]
    assert counts[f'subset {subset}'][0] == 1


@pytest.mark.parametrize(
    ('name', 'change', 'reason'),
    [
        ('annotations.csv', 'drop', 'the official table 5; it lacks the row'),
        ('annotations.csv', 'move', 'the official table 5; it lacks the row'),
        ('annotations.csv', 'add', 'the official table 5; it adds the row'),
        ('annotations_excluded.csv', 'move', 'it lacks the row'),
    ],
)
def test_changed_official_row_stops_the_run(
    test_data: Path, tmp_path: Path, name: str, change: str, reason: str
) -> None:
    mini = test_data / 'luna16-mini'
    for table in ('annotations.csv', 'annotations_excluded.csv'):
        shutil.copy(mini / table, tmp_path)
    uid = next(mini.glob('subset1/*.mhd')).stem
    lines = (tmp_path / name).read_text().splitlines()
    row = next(k for k, line in enumerate(lines) if line.startswith(uid))
    if change == 'drop':
        del lines[row]
    elif change == 'add':
        lines.append(f'{uid},1,2,3,4')
    else:
        cells = lines[row].split(',')
        lines[row] = ','.join([*cells[:3], '12.5', cells[4]])
    (tmp_path / name).write_text('\n'.join(lines) + '\n')
    (tmp_path / f'{uid}.mhd').write_text('')

    with pytest.raises(AnnotationError, match=reason) as caught:
        prepare_luna16(tmp_path, tmp_path / 'out', progress=False)

    assert f'{name}: series {uid}' in str(caught.value)
