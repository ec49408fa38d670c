"""LUNA16's tables and submissions, read strictly; plain or gzipped."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.io.atomic import write_text
from lungdet.structures import Annotation, AnnotationTable, SeriesResult

ANNOTATION_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'diameter_mm')
MARK_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'probability')
CANDIDATE_COLUMNS = MARK_COLUMNS[:4]
MAX_DIAMETER_MM = 200.0
MAX_TABLE_BYTES = 1_000_000_000  # unpacked; 888 scans x 10,000 marks fit
GZIP = b'\x1f\x8b'
FLOATED_UID = re.compile(r'\d+([.,]\d+)?[eE][+-]?\d+')


def _bytes(path: Path) -> bytes:
    """Content of a table, unpacked if it is gzipped."""
    with open(path, 'rb') as file:
        packed = file.read(len(GZIP)) == GZIP
    try:
        with gzip.open(path) if packed else open(path, 'rb') as file:
            content = file.read(MAX_TABLE_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AnnotationError(
            f'{path}: cannot be unpacked ({error}); the file is cut or '
            'damaged. Copy it again.'
        ) from error
    if len(content) > MAX_TABLE_BYTES:
        raise AnnotationError(
            f'{path}: unpacks to more than {MAX_TABLE_BYTES:.0e} bytes, which '
            'no table of marks needs. Write fewer marks a scan.'
        )
    return content


def _text(path: Path) -> str:
    try:
        text = _bytes(path).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f'{path}: not UTF-8 text ({error.reason} at byte {error.start}); '
            'a packed or spreadsheet file is not read. Save it as plain csv.'
        ) from error
    if '\0' in text:
        raise AnnotationError(
            f'{path}: holds zero bytes; it is damaged or not a csv file. '
            'Copy it again.'
        )
    return text


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every row, the header and blank ones included."""
    reader = csv.reader(io.StringIO(_text(path), newline=''))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise AnnotationError(
            f'{path}:{reader.line_num}: {error}; a quote was opened and not '
            'closed, or this is not a csv file. Correct the line.'
        ) from error


def _records(
    path: Path, columns: Sequence[str]
) -> Iterator[tuple[int, str, list[str]]]:
    """(line, uid, other cells) of every row; extra columns are ignored."""
    cells = _cells(path)
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
        yield line, uid, [row[k] for k in positions[1:]]


def read_numbers(
    path: Path, columns: Sequence[str]
) -> Iterator[tuple[int, str, list[float]]]:
    """(line, uid, numbers) of every row of a table.

    Args:
        path: The table.
        columns: ``seriesuid``, then columns of numbers; others are ignored.

    Raises:
        AnnotationError: A column, number or id that cannot be right; the
            message gives file and line.
    """
    for line, uid, cells in _records(path, columns):
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            numbers = [math.nan]
        # float() takes "nan", "inf" and "1_0"; a table may not hold them
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
    header: list[str], name: str, path: Path, columns: Sequence[str]
) -> int:
    if header.count(name) == 1:
        return header.index(name)
    what = 'stands twice in' if name in header else 'is missing from'
    hint = ''
    close = difflib.get_close_matches(name, header, n=1)
    if len(header) == 1 and ('\t' in header[0] or ';' in header[0]):
        hint = ' The columns must be separated by commas.'
    elif name == 'probability' and 'class' in header:
        hint = ' A list of candidates must be given a score each first.'
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


def _refuse_numbers(
    cells: list[str], names: Sequence[str], where: str
) -> None:
    """Name the cell of a row that is not a finite number."""
    for name, cell in zip(names, cells):
        try:
            bad = '_' in cell or not math.isfinite(float(cell))
        except ValueError:
            bad = True
        if bad:
            raise AnnotationError(
                f'{where}: {name} is {cell.strip()!r}, which is not a finite '
                'number; correct or remove the row.'
            )


def _annotations(path: str | Path, *, unknown_ok: bool) -> AnnotationTable:
    table: AnnotationTable = {}
    for line, uid, (x, y, z, diameter) in read_numbers(
        Path(path), ANNOTATION_COLUMNS
    ):
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


def read_annotations(path: str | Path) -> AnnotationTable:
    """Reference nodules by series uid, in the file's order.

    Raises:
        AnnotationError: A column, number or id that cannot be right; the
            message gives file and line.
    """
    return _annotations(path, unknown_ok=False)


def read_excluded(path: str | Path) -> AnnotationTable:
    """Excluded findings by series uid; a negative diameter is unknown.

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    return _annotations(path, unknown_ok=True)


def read_seriesuids(path: str | Path) -> list[str]:
    """The scan list: one uid a line, no header, order kept.

    Raises:
        AnnotationError: A header line, a uid listed twice, or no uid.
    """
    uids: dict[str, int] = {}
    for number, line in enumerate(_text(Path(path)).splitlines(), start=1):
        uid = line.split(',')[0].strip().strip('"')
        if not line.strip():
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
    if not uids:
        raise AnnotationError(
            f'{path}: names no scan; write one series uid a line.'
        )
    return list(uids)


def read_marks(
    path: str | Path,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A submission: series uid -> centres (n, 3) mm and scores (n,).

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    rows: dict[str, list[list[float]]] = {}
    for _, uid, numbers in read_numbers(Path(path), MARK_COLUMNS):
        rows.setdefault(uid, []).append(numbers)
    return {
        uid: (np.array(values)[:, :3], np.array(values)[:, 3])
        for uid, values in rows.items()
    }


def write_table(
    path: str | Path, rows: Sequence[Mapping[str, str | int | float]]
) -> None:
    """Write rows of equal keys as csv; without rows the file is empty."""
    text = io.StringIO(newline='')
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def read_candidates(path: str | Path) -> dict[str, np.ndarray]:
    """A list of candidates: series uid -> centres (n, 3) mm.

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    rows: dict[str, list[list[float]]] = {}
    for _, uid, numbers in read_numbers(Path(path), CANDIDATE_COLUMNS):
        rows.setdefault(uid, []).append(numbers)
    return {uid: np.array(values) for uid, values in rows.items()}


def read_column(path: str | Path, name: str) -> dict[str, list[str]]:
    """Any column as text: series uid -> its rows' values, in order.

    Raises:
        AnnotationError: No such column, or a row that is cut.
    """
    values: dict[str, list[str]] = {}
    for _, uid, (cell,) in _records(Path(path), ('seriesuid', name)):
        values.setdefault(uid, []).append(cell.strip())
    return values


def has_column(path: str | Path, name: str) -> bool:
    """Whether a table's header names a column."""
    header = next(_cells(Path(path)), (0, []))[1]
    return name in [cell.strip() for cell in header]


def write_submission(
    path: str | Path, results: Iterable[SeriesResult]
) -> None:
    """Write detections as marks in LUNA16's format."""
    lines = [','.join(MARK_COLUMNS)]
    for result in results:
        for detection in result.detections:
            x, y, z = detection.center_mm
            lines.append(
                f'{result.series_uid},{x:.6f},{y:.6f},{z:.6f},'
                f'{detection.score:.9g}'
            )
    write_text(path, '\n'.join(lines) + '\n')
