from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import lungdet.io.table_file as table_file
from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.luna16 import (
    has_column,
    read_annotations,
    read_candidates,
    read_column,
    read_excluded,
    read_marks,
    read_seriesuids,
    write_submission,
    write_table,
)
from lungdet.structures import Detection, SeriesResult

GRID = Geometry((1, 1, 1), np.eye(4))
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

    findings = read_excluded(file)['1.2']

    assert [f.center_mm for f in findings] == [(1, 2, 3), (4, 5, 6)]
    assert [f.diameter_mm for f in findings] == [None, 5]


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

    detection = Detection((1.25, -2, 3.0000005), 0.123456789)
    write_submission(file, [SeriesResult('1.10', [detection], GRID)])

    centers, scores = read_marks(file)['1.10']
    np.testing.assert_allclose(centers, [[1.25, -2, 3]], atol=1e-6)
    assert scores[0] == 0.123456789


MARKS = 'seriesuid,coordX,coordY,coordZ,probability\n'


def test_gzipped_tables_are_read_and_damaged_ones_refused(
    tmp_path: Path,
) -> None:
    whole = gzip.compress((MARKS + 'a,1,2,3,0.5\n' * 50).encode())
    (tmp_path / 'm.csv.gz').write_bytes(whole)
    (tmp_path / 'cut.csv').write_bytes(whole[:-9])
    (tmp_path / 'odd.csv').write_bytes(whole[:20] + b'xxxx' + whole[24:])

    assert read_marks(tmp_path / 'm.csv.gz')['a'][1].tolist() == [0.5] * 50
    for name in ('cut', 'odd'):
        with pytest.raises(AnnotationError, match='cannot be unpacked'):
            read_marks(tmp_path / f'{name}.csv')


def test_a_small_file_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_file, 'MAX_TABLE_BYTES', 1000)
    (tmp_path / 'm.csv.gz').write_bytes(gzip.compress(b'0' * 1001))

    with pytest.raises(AnnotationError, match='unpacks to more than'):
        read_marks(tmp_path / 'm.csv.gz')


def test_columns_by_name_and_candidates_without_scores(tmp_path: Path) -> None:
    file = tmp_path / 'c.csv'
    file.write_text(
        'class,coordZ,coordY,coordX,seriesuid,slice mm\n'
        '0,3,2,1,b, 2.5\n1,6,5,4,a,1\n0,9,8,7,b,\n'
    )

    assert read_candidates(file)['b'].tolist() == [[1, 2, 3], [7, 8, 9]]
    assert read_column(file, 'slice mm') == {'b': ['2.5', ''], 'a': ['1']}
    assert has_column(file, 'class') and not has_column(file, 'probability')
    with pytest.raises(AnnotationError, match="'slice' is missing.*'class'"):
        read_column(file, 'slice')


def test_written_rows_are_read_back(tmp_path: Path) -> None:
    write_table(
        tmp_path / 't.csv',
        [{'seriesuid': 'a', 'x': 0.1}, {'seriesuid': 'b', 'x': ''}],
    )
    write_table(tmp_path / 'none.csv', [])
    write_table(tmp_path / 'head.csv', [], ('seriesuid', 'x'))

    assert read_column(tmp_path / 't.csv', 'x') == {'a': ['0.1'], 'b': ['']}
    assert (tmp_path / 'none.csv').read_text() == ''
    assert (tmp_path / 'head.csv').read_text() == 'seriesuid,x\n'


def test_names_with_commas_and_quotes_are_read_as_they_are_written(
    tmp_path: Path,
) -> None:
    row = {'seriesuid': 'a,"b', 'coordX': 1, 'coordY': 2, 'coordZ': 3}
    write_table(tmp_path / 'm.csv', [row | {'probability': 0.5}])
    (tmp_path / 's.csv').write_text('"a,""b"\nc,ignored\n')

    assert list(read_marks(tmp_path / 'm.csv')) == ['a,"b']
    assert read_seriesuids(tmp_path / 's.csv') == ['a,"b', 'c']


def test_line_breaks_inside_an_id_are_refused(tmp_path: Path) -> None:
    file = tmp_path / 'm.csv'
    file.write_text(MARKS + '"a\nb,1",1,2,3,0.5\n')

    with pytest.raises(AnnotationError, match='line break'):
        read_marks(file)


@pytest.mark.parametrize('cell', ['nan', 'inf', '-Infinity', '1_0', '', '1,5'])
def test_what_float_takes_but_a_table_may_not_hold(
    tmp_path: Path, cell: str
) -> None:
    file = tmp_path / 'm.csv'
    file.write_text(MARKS + 'a,1,2,3,0.5\n' + f'a,1,2,3,{cell}\n')

    with pytest.raises(AnnotationError, match='m.csv:3'):
        read_marks(file)


@pytest.mark.parametrize('uid', ['a,b', 'say "a"', 'a;b', ' a'])
def test_names_of_files_survive_a_submission(tmp_path: Path, uid: str) -> None:
    """A scan is called as its file is, and files may be called anything."""
    grid = Geometry((2, 3, 4), np.eye(4))
    result = SeriesResult(uid, [Detection((1.0, 2.0, 3.0), 0.5)], grid)

    write_submission(tmp_path / 'a.csv', [result])

    ((name, (centers, scores)),) = read_marks(tmp_path / 'a.csv').items()
    assert name == uid.strip()
    assert centers.tolist() == [[1, 2, 3]] and scores.tolist() == [0.5]


@pytest.mark.parametrize(
    ('old', 'new', 'hint'),
    [
        ('seriesuid', 'SeriesUID', "Is 'SeriesUID' meant"),
        ('seriesuid', 'sep=,\nseriesuid', 'Remove the first line'),
        (',1.5,', ',"1,5",', "coordX is '1,5'.*with a point"),
        (',', ';', 'must be separated by commas'),
    ],
)
def test_what_spreadsheets_write_is_explained(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    text = 'seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1.5,2,3,4\n'
    (tmp_path / 'a.csv').write_text(text.replace(old, new))

    with pytest.raises(AnnotationError, match=hint):
        read_annotations(tmp_path / 'a.csv')
