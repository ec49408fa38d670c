"""LUNA16's tables and submissions, read strictly; plain or gzipped."""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.io.atomic import write_text
from lungdet.io.table_file import Table, TableFile, as_table
from lungdet.structures import Annotation, AnnotationTable, SeriesResult

# files of a download
ANNOTATIONS, EXCLUDED = 'annotations.csv', 'annotations_excluded.csv'
SCAN_LIST = 'seriesuids.csv'
ANNOTATION_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'diameter_mm')
MARK_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'probability')
CANDIDATE_COLUMNS = MARK_COLUMNS[:4]
MAX_DIAMETER_MM = 200.0
MAX_SERIES = 200_000
MAX_ANNOTATIONS = 1_000_000
DECIMAL_COMMA = re.compile(r'[+-]?\d+,\d+')
FLOATED_UID = re.compile(r'\d+([.,]\d+)?[eE][+-]?\d+')


def _records(
    path: TableFile, columns: Sequence[str]
) -> Iterator[tuple[int, str, list[str]]]:
    """(line, uid, other cells) of every row; extra columns are ignored."""
    cells = path.rows()
    header = [name.strip() for name in next(cells, (0, []))[1]]
    positions = [_column(header, name, path, columns) for name in columns]
    checked = set()
    for line, row in cells:
        if len(row) != len(header):
            if not any(cell.strip() for cell in row):
                continue
            _check_width(row, header, positions, f'{path}:{line}')
        uid = row[positions[0]].strip()
        if uid not in checked:
            if not any(cell.strip() for cell in row):
                continue
            _check_uid(uid, f'{path}:{line}')
            checked.add(uid)
            _check_number(checked, path)
        yield line, uid, [row[k] for k in positions[1:]]


def read_numbers(
    path: Table, columns: Sequence[str]
) -> Iterator[tuple[int, str, list[float]]]:
    """(line, uid, numbers) of every row of a table.

    Args:
        path: The table.
        columns: ``seriesuid``, then columns of numbers; others are ignored.

    Raises:
        AnnotationError: A column, number or id that cannot be right; the
            message gives file and line.
    """
    for line, uid, cells in _records(as_table(path), columns):
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            numbers = [math.nan]
        # float() accepts "nan", "inf" and "1_0"; a table must not
        if not all(map(math.isfinite, numbers)) or '_' in ''.join(cells):
            _refuse_numbers(cells, columns[1:], f'{path}:{line}')
        yield line, uid, numbers


def _check_width(
    row: list[str], header: list[str], positions: list[int], where: str
) -> None:
    if len(row) <= max(positions):
        raise AnnotationError(
            f'{where}: {len(row)} cells, the header has {len(header)}; '
            'the row is cut. Restore it from the source.'
        )
    if any(cell.strip() for cell in row[len(header) :]):
        raise AnnotationError(
            f'{where}: {len(row)} cells, the header has {len(header)}; '
            'a decimal comma or a stray separator shifts the values. '
            'Write numbers with a point.'
        )


def _column(
    header: list[str], name: str, path: TableFile, columns: Sequence[str]
) -> int:
    if header.count(name) == 1:
        return header.index(name)
    what = 'appears twice in' if name in header else 'is missing from'
    hint = ''
    alike = [one for one in header if one.lower() == name.lower()]
    close = alike or difflib.get_close_matches(name, header, n=1)
    if header and header[0].lower().startswith('sep='):
        hint = ' Remove the first line, which is for spreadsheets.'
    elif len(header) == 1 and ('\t' in header[0] or ';' in header[0]):
        hint = ' The columns must be separated by commas.'
    elif name == 'probability' and 'class' in header:
        hint = ' Give every candidate of the list a score first.'
    elif name not in header and close:
        hint = f' Is {close[0]!r} meant?'
    raise AnnotationError(
        f'{path}: column {name!r} {what} the header {header}; needed are '
        f'{", ".join(columns)}.{hint}'
    )


def _check_uid(uid: str, where: str) -> None:
    if not uid:
        raise AnnotationError(f'{where}: seriesuid is empty; name the scan.')
    if FLOATED_UID.fullmatch(uid):
        raise AnnotationError(
            f'{where}: seriesuid {uid!r} was turned into a number by a '
            'spreadsheet and lost its digits; use the original file.'
        )
    if not uid.isprintable():
        raise AnnotationError(
            f'{where}: seriesuid {uid!r} holds a line break or another '
            'character that is not printed; correct the id.'
        )


def _check_number(uids: Sized, path: TableFile) -> None:
    if len(uids) > MAX_SERIES:
        raise AnnotationError(
            f'{path}: names more than {MAX_SERIES:,} series, which no data '
            'set has; is the first column the series uid?'
        )


def _refuse_numbers(
    cells: list[str], names: Sequence[str], where: str
) -> None:
    """Raise for the cell of a row that is not a finite number."""
    for name, cell in zip(names, cells):
        try:
            bad = '_' in cell or not math.isfinite(float(cell))
        except ValueError:
            bad = True
        if bad:
            remedy = 'correct or remove the row.'
            if DECIMAL_COMMA.fullmatch(cell.strip()):
                remedy = 'write numbers with a point.'
            raise AnnotationError(
                f'{where}: {name} is {cell.strip()!r}, which is not a finite '
                f'number; {remedy}'
            )


def _annotations(path: Table, *, unknown_ok: bool) -> AnnotationTable:
    table: AnnotationTable = {}
    rows = read_numbers(path, ANNOTATION_COLUMNS)
    for number, (line, uid, (x, y, z, diameter)) in enumerate(rows):
        if number >= MAX_ANNOTATIONS:
            raise AnnotationError(
                f'{path}: more than {MAX_ANNOTATIONS:,} rows, which no '
                'reference has; is this a list of marks?'
            )
        known = diameter > 0
        unknown = diameter < 0 and unknown_ok  # the table writes -1
        if not (known or unknown) or diameter > MAX_DIAMETER_MM:
            raise AnnotationError(
                f'{path}:{line}: diameter_mm is {diameter:g} for series '
                f'{uid}; a diameter is above 0 and at most '
                f'{MAX_DIAMETER_MM:g} mm. Correct or remove the row.'
            )
        table.setdefault(uid, []).append(
            Annotation((x, y, z), diameter if known else None)
        )
    return table


def read_annotations(path: Table) -> AnnotationTable:
    """Reference nodules by series uid, in the file's order.

    Raises:
        AnnotationError: A column, number or id that cannot be right; the
            message gives file and line.
    """
    return _annotations(path, unknown_ok=False)


def read_excluded(path: Table) -> AnnotationTable:
    """Excluded findings by series uid; a negative diameter is unknown.

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    return _annotations(path, unknown_ok=True)


def read_seriesuids(path: Table) -> list[str]:
    """The scan list: one uid per line, no header, order kept.

    Raises:
        AnnotationError: A header line, a uid listed twice, or no uid.
    """
    uids: dict[str, int] = {}
    table = as_table(path)
    for number, cells in table.rows():
        uid = cells[0].strip() if cells else ''
        if not any(cell.strip() for cell in cells):
            continue
        if uid.lower() == 'seriesuid':
            raise AnnotationError(
                f'{path}:{number}: {uid!r} is a header line and would count '
                'as a scan; remove it.'
            )
        _check_uid(uid, f'{path}:{number}')
        if uid in uids:
            raise AnnotationError(
                f'{path}:{number}: series {uid} is listed twice (first in '
                f'line {uids[uid]}) and would count as two scans; remove one '
                'line.'
            )
        uids[uid] = number
        _check_number(uids, table)
    if not uids:
        raise AnnotationError(
            f'{path}: names no scan; write one series uid per line.'
        )
    return list(uids)


def read_marks(
    path: Table,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A submission: series uid -> centres (n, 3) mm and scores (n,).

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    return {
        uid: (values[:, :3], values[:, 3])
        for uid, values in _arrays(path, MARK_COLUMNS).items()
    }


def _arrays(path: Table, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Series uid -> the numbers of its rows (n, columns), float64."""
    flat: dict[str, array] = {}
    for _, uid, numbers in read_numbers(path, columns):
        flat.setdefault(uid, array('d')).extend(numbers)
    width = len(columns) - 1
    return {
        uid: np.frombuffer(values).reshape(-1, width)
        for uid, values in flat.items()
    }


def write_table(
    path: str | Path,
    rows: Sequence[Mapping[str, str | int | float]],
    columns: Sequence[str] = (),
) -> None:
    """Write rows of equal keys as csv.

    Args:
        path: Path of the file.
        rows: The rows.
        columns: The header; by default the keys of the first row, and without
            rows the file is empty.
    """
    text = io.StringIO(newline='')
    if header := list(columns or (rows[0] if rows else ())):
        writer = csv.DictWriter(text, header, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def read_candidates(path: Table) -> dict[str, np.ndarray]:
    """A list of candidates: series uid -> centres (n, 3) mm.

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    return _arrays(path, CANDIDATE_COLUMNS)


def read_column(path: Table, name: str) -> dict[str, list[str]]:
    """Any column as text: series uid -> its rows' values, in order.

    Raises:
        AnnotationError: No such column, or a row that is cut.
    """
    values: dict[str, list[str]] = {}
    for _, uid, (cell,) in _records(as_table(path), ('seriesuid', name)):
        values.setdefault(uid, []).append(cell.strip())
    return values


def has_column(path: Table, name: str) -> bool:
    """Whether a table's header names a column."""
    header = next(as_table(path).rows(), (0, []))[1]
    return name in [cell.strip() for cell in header]


def write_submission(
    path: str | Path, results: Iterable[SeriesResult]
) -> None:
    """Write detections as marks in LUNA16's format.

    A scan may be named like its file, so names with commas are quoted.
    """
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(MARK_COLUMNS)
    for result in results:
        for detection in result.detections:
            center = [f'{value:.6f}' for value in detection.center_mm]
            score = f'{detection.score:.9g}'
            writer.writerow([result.series_uid, *center, score])
    write_text(path, text.getvalue())
