"""Comparing a download with LUNA16's own tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from lungdet.errors import AnnotationError
from lungdet.io.luna16 import ANNOTATIONS, EXCLUDED
from lungdet.io.reference_set import official_reference, official_subsets
from lungdet.structures import (
    Annotation,
    AnnotationTable,
    CaseRecord,
    row_differences,
)


class OfficialCount(NamedTuple):
    """How many of LUNA16's scans or nodules are present, and their total."""

    present: int
    official: int


def _official_table(name: str) -> AnnotationTable:
    reference = official_reference()
    return {
        ANNOTATIONS: reference.annotations,
        EXCLUDED: reference.excluded,
    }[name]


def check_official(
    uids: Sequence[str], tables: dict[str, AnnotationTable], root: Path
) -> frozenset[str]:
    """Compare the rows of official series with the official tables.

    Args:
        uids: Series that are present.
        tables: ``annotations.csv`` and ``annotations_excluded.csv`` by name.
        root: Folder of the tables, for the message.

    Returns:
        The official series among ``uids``.

    Raises:
        AnnotationError: A row is missing, added or changed.
    """
    present = [uid for uid in uids if uid in official_subsets()]
    for name, table in tables.items():
        official = _official_table(name) if present else {}
        for uid in present:
            _compare(
                table.get(uid, []),
                official.get(uid, []),
                f'{root / name}: series {uid}',
            )
    return frozenset(present)


def _compare(
    rows: list[Annotation], official: list[Annotation], where: str
) -> None:
    missing, added = row_differences(rows, official)
    if not missing and not added:
        return
    (first, *_), verb = (missing, 'lacks') if missing else (added, 'adds')
    diameter = -1.0 if first.diameter_mm is None else first.diameter_mm
    raise AnnotationError(
        f'{where} has {len(rows)} rows, the official table {len(official)}; '
        f'it {verb} the row '
        f'{", ".join(f"{v:g}" for v in (*first.center_mm, diameter))} '
        '(x, y, z, diameter). Restore the official file.'
    )


def is_official(uid: str, rows: Sequence[Annotation]) -> bool:
    """Whether a series' nodules are those of LUNA16's table."""
    wanted = _official_table(ANNOTATIONS).get(uid)
    return wanted is not None and row_differences(rows, wanted) == ([], [])


def official_counts(
    records: Sequence[CaseRecord], uids: Collection[str]
) -> dict[str, OfficialCount]:
    """Numbers of scans and nodules of official series.

    Args:
        records: Cases of a folder.
        uids: The official series among the scans.

    Returns:
        What is counted -> how many are present, and how many LUNA16 has.
    """
    present = [r for r in records if r.series_uid in uids]
    nodules = _official_table(ANNOTATIONS)
    excluded = _official_table(EXCLUDED)
    subsets = official_subsets()
    counts = {
        'scans': OfficialCount(len(present), len(subsets)),
        'with nodules': OfficialCount(
            sum(bool(r.nodules) for r in present), len(nodules)
        ),
        'nodules': OfficialCount(
            sum(len(r.nodules) for r in present),
            sum(map(len, nodules.values())),
        ),
        'excluded findings': OfficialCount(
            sum(len(r.excluded) for r in present),
            sum(map(len, excluded.values())),
        ),
    }
    sizes = Counter(subsets.values())
    by_subset = Counter(subsets[r.series_uid] for r in present)
    for subset in sorted(by_subset):
        count = OfficialCount(by_subset[subset], sizes[subset])
        counts[f'subset {subset}'] = count
    return counts
