from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.io.luna16 import (
    read_annotations,
    read_excluded,
    read_marks,
    read_seriesuids,
    write_submission,
)

HEAD = 'seriesuid,coordX,coordY,coordZ,diameter_mm\n'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('seriesuid,coordX,coordY,coordZ\na,1,2,3\n', "'diameter_mm'"),
        (HEAD + 'a,1,2,x,4\n', "csv:2: coordZ is 'x'"),
        (HEAD + 'a,1,2,nan,4\n', 'coordZ'),
        (HEAD + 'a,1,2\n', '3 cells'),
        (HEAD + ',1,2,3,4\n', 'seriesuid is empty'),
        (HEAD + '1.3E+20,1,2,3,4\n', 'lost its digits'),
        (HEAD + 'a,1,2,3,-3.2\n', 'diameter_mm is -3.2'),
        (HEAD + 'a,1,2,3,900\n', 'diameter_mm is 900'),
    ],
)
def test_rows_that_cannot_be_right_are_named(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / 'a.csv'
    file.write_text(text)

    with pytest.raises(AnnotationError, match=message.replace('+', r'\+')):
        read_annotations(file)


def test_column_order_quotes_crlf_and_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / 'a.csv'
    file.write_bytes(
        b'\xef\xbb\xbfdiameter_mm,x,coordZ,coordY,coordX,seriesuid\r\n'
        b'-1,?,3,2,1,"1.2"\r\n\r\n5,?,6,5,4,1.2\r\n'
    )

    found = read_excluded(file)['1.2']

    assert [f.center_mm for f in found] == [(1, 2, 3), (4, 5, 6)]
    assert [f.diameter_mm for f in found] == [None, 5]


def test_scan_list_refuses_header_and_repeats(tmp_path: Path) -> None:
    file = tmp_path / 's.csv'
    file.write_text('seriesuid\na\n')
    with pytest.raises(AnnotationError, match='header line'):
        read_seriesuids(file)
    file.write_text('a\nb\na\n')
    with pytest.raises(AnnotationError, match='listed twice'):
        read_seriesuids(file)


def test_submission_survives_the_file(tmp_path: Path) -> None:
    file = tmp_path / 'out.csv'

    write_submission(file, [('1.10', 1.25, -2, 3.0000005, 0.123456789)])

    centers, scores = read_marks(file)['1.10']
    np.testing.assert_allclose(centers, [[1.25, -2, 3]], atol=1e-6)
    assert scores[0] == 0.123456789
