"""LUNA16's own tables, which ship with the package."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path

from lungdet.io.luna16 import (
    ANNOTATIONS,
    EXCLUDED,
    read_annotations,
    read_column,
    read_excluded,
)
from lungdet.structures import ReferenceSet


@contextmanager
def _packed(name: str) -> Iterator[Path]:
    table = resources.files('lungdet.io').joinpath('official', f'{name}.gz')
    with resources.as_file(table) as path:
        yield path


@cache
def official_subsets() -> dict[str, int]:
    """Subset of each of LUNA16's 888 series, in the official order."""
    with _packed('subsets.csv') as path:
        table = read_column(path, 'subset')
    return {uid: int(subset) for uid, (subset,) in table.items()}


def num_listed(subsets: Collection[int], series_uids: Collection[str]) -> int:
    """Number of scans of a full test of subsets, prepared or not.

    Args:
        subsets: The subsets that are tested.
        series_uids: The prepared scans among them; if none is LUNA16's, these
            are all.
    """
    official = official_subsets()
    if not official.keys() & set(series_uids):
        return len(series_uids)
    listed = {uid for uid, subset in official.items() if subset in subsets}
    return len(listed | set(series_uids))


@cache
def official_reference() -> ReferenceSet:
    """LUNA16's nodules, exclusions and scan list.

    Source: Setio et al. 2017; see ``official/README.md`` for the licence.
    """
    with _packed(ANNOTATIONS) as path:
        annotations = read_annotations(path)
    with _packed(EXCLUDED) as path:
        excluded = read_excluded(path)
    return ReferenceSet(
        'official', annotations, excluded, tuple(official_subsets())
    )
