from __future__ import annotations

import json
from pathlib import Path

import pytest

from lungdet.errors import SeriesError
from lungdet.io.hard_negatives import (
    HardNegative,
    HardNegativeBank,
    bank_file,
    bank_files,
    bank_of_epoch,
)

MARKS = {
    '1.2': (HardNegative((1.5, -2.25, 100.0), 4.5, 0.75),),
    '1.10': (),
}


def test_bank_is_read_as_written(tmp_path: Path) -> None:
    bank = HardNegativeBank(4, MARKS)

    path = bank.write(tmp_path)

    assert path == bank_file(tmp_path, 4)
    assert HardNegativeBank.read(path) == bank
    assert json.loads(path.read_text())['marks']['1.2'] == [
        [1.5, -2.25, 100.0, 4.5, 0.75]
    ]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_epoch_decides_which_bank_is_used(tmp_path: Path) -> None:
    for epoch in (12, 2, 7):
        HardNegativeBank(epoch, MARKS).write(tmp_path)
    (tmp_path / 'hard_negatives_old.json').write_text('{}')

    used = [bank_of_epoch(tmp_path, e) for e in (0, 1, 2, 6, 7, 11, 12, 99)]

    assert list(bank_files(tmp_path)) == [2, 7, 12]
    assert used[:2] == [None, None]
    assert used[2:] == [
        bank_file(tmp_path, epoch) for epoch in (2, 2, 7, 7, 12, 12)
    ]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'format': 'lungdet.hard_negatives/9'}, 'this version reads'),
        ({'epoch': 1.5}, 'not a whole number'),
        ({'marks': [1]}, 'not an object with keys'),
        ({'marks': {'1.2': [[1, 2, 3, 4]]}}, 'not 5 numbers'),
        ({'marks': {'1.2': [[1, 2, 3, -4, 0.5]]}}, 'a diameter of -4'),
        ({'marks': {'1.2': [[1, 2, 3, float('nan'), 0.5]]}}, 'not a number'),
    ],
)
def test_damaged_bank_is_one_line(
    tmp_path: Path, change: dict, message: str
) -> None:
    path = HardNegativeBank(4, MARKS).write(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(SeriesError, match=message) as caught:
        HardNegativeBank.read(path)

    assert str(path) in str(caught.value)
    assert 'mines again' in str(caught.value)
