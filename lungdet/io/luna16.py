"""LUNA16's tables and submissions, read strictly."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.io.atomic import write_text
from lungdet.structures import Annotation

FINDING_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'diameter_mm')
MARK_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'probability')
MAX_DIAMETER_MM = 200.0


def _rows(
    path: Path, columns: Sequence[str]
) -> Iterable[tuple[str, str, list[float]]]:
    """(place, uid, numbers) of every row; extra columns are ignored."""
    text = path.read_text(encoding='utf-8-sig')
    reader = csv.reader(io.StringIO(text, newline=''))
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in columns if name not in header]
    if missing:
        raise AnnotationError(
            f'{path}: column {missing[0]!r} is missing from the header '
            f'{header}; the columns are {", ".join(columns)}.'
        )
    places = [header.index(name) for name in columns]
    for row in reader:
        if not row or not any(cell.strip() for cell in row):
            continue
        place = f'{path}:{reader.line_num}'
        if len(row) <= max(places):
            raise AnnotationError(
                f'{place}: {len(row)} cells, the header has {len(header)}; '
                'the row is cut. Restore it from the source.'
            )
        uid = row[places[0]].strip()
        _check_uid(uid, place)
        yield (
            place,
            uid,
            [
                _number(row[k], place, name)
                for k, name in zip(places[1:], columns[1:])
            ],
        )


def _check_uid(uid: str, place: str) -> None:
    if not uid:
        raise AnnotationError(f'{place}: seriesuid is empty; name the scan.')
    if 'E+' in uid.upper():
        raise AnnotationError(
            f'{place}: seriesuid {uid!r} was turned into a number by a '
            'spreadsheet and lost its digits; use the original file.'
        )


def _number(cell: str, place: str, name: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(
            f'{place}: {name} is {cell.strip()!r}, which is not a finite '
            'number; correct or remove the row.'
        )
    return value


def _findings(
    path: str | Path, *, unknown_ok: bool
) -> dict[str, list[Annotation]]:
    table: dict[str, list[Annotation]] = {}
    for place, uid, (x, y, z, diameter) in _rows(Path(path), FINDING_COLUMNS):
        known = diameter > 0
        if (not known and not unknown_ok) or diameter > MAX_DIAMETER_MM:
            raise AnnotationError(
                f'{place}: diameter_mm is {diameter:g} for series {uid}; a '
                f'diameter lies in 0..{MAX_DIAMETER_MM:g} mm. Correct or '
                'remove the row.'
            )
        table.setdefault(uid, []).append(
            Annotation((x, y, z), diameter if known else None)
        )
    return table


def read_annotations(path: str | Path) -> dict[str, list[Annotation]]:
    """Reference nodules by series uid, in the file's order.

    Raises:
        AnnotationError: A column, number or id that cannot be right; the
            message gives file and line.
    """
    return _findings(path, unknown_ok=False)


def read_excluded(path: str | Path) -> dict[str, list[Annotation]]:
    """Excluded findings by series uid; a negative diameter is unknown.

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    return _findings(path, unknown_ok=True)


def read_seriesuids(path: str | Path) -> list[str]:
    """The scan list: one uid a line, no header, order kept.

    Raises:
        AnnotationError: A header line, or a uid listed twice.
    """
    lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    uids = [line.split(',')[0].strip() for line in lines if line.strip()]
    if uids and uids[0].lower() == 'seriesuid':
        raise AnnotationError(
            f'{path}:1: {uids[0]!r} is a header line and would count as a '
            'scan; remove it.'
        )
    for number, uid in enumerate(uids, start=1):
        _check_uid(uid, f'{path}:{number}')
    twice = [uid for uid in dict.fromkeys(uids) if uids.count(uid) > 1]
    if twice:
        raise AnnotationError(
            f'{path}: series {twice[0]} is listed twice and would count as '
            'two scans; remove one line.'
        )
    return uids


def read_marks(
    path: str | Path,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A submission: series uid -> centres (n, 3) mm and scores (n,).

    Raises:
        AnnotationError: As ``read_annotations``.
    """
    rows: dict[str, list[list[float]]] = {}
    for _, uid, numbers in _rows(Path(path), MARK_COLUMNS):
        rows.setdefault(uid, []).append(numbers)
    return {
        uid: (np.array(values)[:, :3], np.array(values)[:, 3])
        for uid, values in rows.items()
    }


def write_submission(
    path: str | Path, rows: Iterable[tuple[str, float, float, float, float]]
) -> None:
    """Write marks (uid, x, y, z, probability) in LUNA16's format."""
    lines = [','.join(MARK_COLUMNS)]
    lines += [
        f'{uid},{x:.6f},{y:.6f},{z:.6f},{score:.9g}'
        for uid, x, y, z, score in rows
    ]
    write_text(path, '\n'.join(lines) + '\n')


def as_arrays(
    findings: Sequence[Annotation],
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 3) and diameters (n,), NaN where unknown."""
    centers = np.array([f.center_mm for f in findings], dtype=np.float64)
    diameters = [
        np.nan if f.diameter_mm is None else f.diameter_mm for f in findings
    ]
    return centers.reshape(-1, 3), np.array(diameters, dtype=np.float64)
