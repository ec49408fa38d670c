"""Whether the scans of a download and its tables name the same series."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from lungdet.errors import AnnotationError
from lungdet.io.luna16 import SCAN_LIST, read_seriesuids
from lungdet.io.reference_set import official_subsets
from lungdet.prepare.discover import ScanSource

NAMED = 3  # examples per message


def known_series(tables: Iterable[Collection[str]]) -> set[str]:
    """Series that LUNA16, the tables or the list of a download name.

    Args:
        tables: Each by series uid, and the list.
    """
    return set(official_subsets()).union(*tables)


def listed_series(root: Path) -> dict[str, list[str]]:
    """The scan list of a download by its file name; empty if it has none.

    Args:
        root: Folder of the download; ``seriesuids.csv`` in it is optional.

    Raises:
        AnnotationError: A list that cannot be right.
    """
    path = root / SCAN_LIST
    return {SCAN_LIST: read_seriesuids(path)} if path.is_file() else {}


def check_series(
    sources: Sequence[ScanSource],
    known: Collection[str],
    tables: dict[str, Collection[str]],
    root: Path,
) -> list[str]:
    """Report scans that nothing names, and rows of missing scans.

    Args:
        sources: The scans.
        known: As returned by ``known_series``.
        tables: Series uids of each table and of the list, by the name of its
            file.
        root: Folder of the download, for the message.

    Returns:
        Caveats, with counts and some of the names.

    Raises:
        AnnotationError: More than half of the scans are named nowhere.
    """
    present = [source.uid for source in sources]
    unknown = [uid for uid in present if uid not in known]
    text = (
        f'{len(unknown)} of {len(present)} scans are in no table, not in '
        f'{SCAN_LIST} and not of LUNA16, {_such_as(unknown)}'
    )
    if 2 * len(unknown) > len(present):
        raise AnnotationError(
            f'{root}: {text}; they would count as scans without nodules. '
            'Give them the names of the tables, or list scans without '
            f'nodules in {root / SCAN_LIST}.'
        )
    caveats = []
    if unknown:
        caveats.append(f'{text}; they count as scans without nodules')
    listed = tables.get(SCAN_LIST)
    unlisted = [u for u in present if listed is not None and u not in listed]
    if unlisted:
        caveats.append(
            f'{len(unlisted)} of {len(present)} scans are not in '
            f'{root / SCAN_LIST}, {_such_as(unlisted)}'
        )
    ours = {*present, *official_subsets()}
    for name, uids in tables.items():
        absent = [uid for uid in uids if uid not in ours]
        if absent:
            caveats.append(
                f'{root / name} names {len(absent)} scans that are not '
                f'there, {_such_as(absent)}'
            )
    return caveats


def _such_as(uids: Sequence[str]) -> str:
    return f'such as {", ".join(uids[:NAMED])}'
