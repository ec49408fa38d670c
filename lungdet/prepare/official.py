"""Comparing a download with LUNA16's own tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

from lungdet.errors import AnnotationError
from lungdet.io.reference_set import official_reference, official_subsets
from lungdet.structures import Annotation, CaseRecord

Rows = dict[str, list[tuple[float, ...]]]


@cache
def _rows(name: str) -> Rows:
    """Rows (x, y, z, diameter) of an official table, by series."""
    official = official_reference()
    table = {
        'annotations.csv': official.annotations,
        'annotations_excluded.csv': official.excluded,
    }[name]
    return {uid: [_row(f) for f in found] for uid, found in table.items()}


def check_official(
    uids: Sequence[str],
    tables: dict[str, dict[str, list[Annotation]]],
    root: Path,
) -> frozenset[str]:
    """Compare the rows of official series with the official tables.

    Args:
        uids: Series that are present.
        tables: File name -> findings by series.
        root: Folder of the tables, for the message.

    Returns:
        The official series among ``uids``.

    Raises:
        AnnotationError: A row is missing, added or changed.
    """
    mine = [uid for uid in uids if uid in official_subsets()]
    for name, table in tables.items():
        wanted = _rows(name) if mine else {}
        for uid in mine:
            _compare(
                [_row(found) for found in table.get(uid, [])],
                wanted.get(uid, []),
                f'{root / name}: series {uid}',
            )
    return frozenset(mine)


def _row(found: Annotation) -> tuple[float, ...]:
    return (
        *found.center_mm,
        -1.0 if found.diameter_mm is None else found.diameter_mm,
    )


def _compare(
    rows: list[tuple[float, ...]],
    wanted: list[tuple[float, ...]],
    where: str,
) -> None:
    missing, added = Counter(wanted), Counter(rows)
    missing, added = missing - added, added - missing
    if not missing and not added:
        return
    first = next(iter(missing or added))
    what = 'lacks' if missing else 'adds'
    raise AnnotationError(
        f'{where} has {len(rows)} rows, the official table {len(wanted)}; it '
        f'{what} the row {", ".join(f"{v:g}" for v in first)} (x, y, z, '
        'diameter). Restore the official file.'
    )


def official_counts(
    records: Sequence[CaseRecord], uids: Collection[str]
) -> dict[str, tuple[int, int]]:
    """What -> (found, official number), over official series only."""
    mine = [r for r in records if r.series_uid in uids]
    nodules, excluded = (
        _rows('annotations.csv'),
        _rows('annotations_excluded.csv'),
    )
    subsets = official_subsets()
    counts = {
        'scans': (len(mine), len(subsets)),
        'with nodules': (sum(bool(r.nodules) for r in mine), len(nodules)),
        'nodules': (
            sum(len(r.nodules) for r in mine),
            sum(map(len, nodules.values())),
        ),
        'excluded findings': (
            sum(len(r.excluded) for r in mine),
            sum(map(len, excluded.values())),
        ),
    }
    sizes = Counter(subsets.values())
    found = Counter(subsets[r.series_uid] for r in mine)
    for subset in sorted(found):
        counts[f'subset {subset}'] = (found[subset], sizes[subset])
    return counts
