"""Submissions, reference tables and groups, read from files.

Runs without torch and mmengine; ``lungdet.evaluation`` scores what is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lungdet.errors import AnnotationError
from lungdet.evaluation import (
    Grouping,
    Submission,
    annotations_by_scan,
    diameter_labels,
    mangled_ids,
)
from lungdet.io.digests import sha256_of
from lungdet.io.luna16 import (
    has_column,
    read_annotations,
    read_column,
    read_excluded,
    read_marks,
    read_seriesuids,
)
from lungdet.io.reference_set import official_reference, official_subsets
from lungdet.structures import ReferenceSet


def load_reference(
    annotations: str | Path | None = None,
    excluded: str | Path | None = None,
    seriesuids: str | Path | None = None,
) -> ReferenceSet:
    """Reference tables; LUNA16's own where none is given.

    Args:
        annotations: csv of nodules.
        excluded: csv of excluded findings.
        seriesuids: The scans, one uid a line.

    Raises:
        AnnotationError: A table that cannot be right, or ids of a table that
            are listed ones with digits lost.
    """
    official = official_reference()
    reference = ReferenceSet(
        name=_reference_name(
            {
                'annotations': annotations,
                'excluded': excluded,
                'scans': seriesuids,
            }
        ),
        annotations=read_annotations(annotations)
        if annotations
        else official.annotations,
        excluded=read_excluded(excluded) if excluded else official.excluded,
        seriesuids=tuple(read_seriesuids(seriesuids))
        if seriesuids
        else official.seriesuids,
    )
    for path, table in (
        (annotations, reference.annotations),
        (excluded, reference.excluded),
    ):
        if path:
            _refuse_mangled(path, table, reference.seriesuids)
    return reference


def _reference_name(files: Mapping[str, str | Path | None]) -> str:
    """Which tables are official, and the files of the others."""
    given = [f'{what} of {Path(f).name}' for what, f in files.items() if f]
    whole = len(given) == len(files)
    return ', '.join(given if whole else ['official', *given])


def load_submission(
    path: str | Path, reference: ReferenceSet, *, name: str | None = None
) -> Submission:
    """Read marks, plain or gzipped.

    Args:
        path: Of the file.
        reference: What it will be scored against.
        name: For tables and figures; by default the file's.

    Raises:
        AnnotationError: A row that cannot be right, or ids that are listed
            ones with digits lost.
    """
    marks = read_marks(path)
    _refuse_mangled(path, marks, reference.seriesuids)
    return Submission(name or Path(path).name, marks, sha256_of(path))


def load_submissions(
    paths: Sequence[str | Path], reference: ReferenceSet
) -> list[Submission]:
    """Read several; files of one name are called by their whole paths.

    Args:
        paths: Of the files.
        reference: What they will be scored against.

    Raises:
        AnnotationError: As ``load_submission``.
    """
    names = [Path(path).name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [
        load_submission(path, reference, name=name)
        for path, name in zip(paths, names)
    ]


def load_grouping(
    column: str,
    reference: ReferenceSet,
    *,
    annotations: str | Path | None = None,
    scan_table: str | Path | None = None,
) -> Grouping:
    """Groups of nodules or of scans, by a column.

    Args:
        column: ``'diameter'``, ``'subset'`` (LUNA16's), or a column of
            ``scan_table`` (groups of scans) or of ``annotations`` (of
            nodules).
        reference: Of ``load_reference``.
        annotations: The table of nodules, if it is not the official one.
        scan_table: A csv with a header, ``seriesuid`` and the column.

    Raises:
        AnnotationError: No such column, or a scan with several values.
    """
    if column == 'diameter':
        nodules = annotations_by_scan(reference.annotations)
        diameters = {uid: values for uid, (_, values) in nodules.items()}
        return Grouping(column, nodule_labels=diameter_labels(diameters))
    if scan_table and has_column(scan_table, column):
        return Grouping(
            f'{column} of scans',
            scan_labels=_one_label_per_scan(scan_table, column),
        )
    if annotations and has_column(annotations, column):
        return Grouping(
            f'{column} of nodules',
            nodule_labels=read_column(annotations, column),
        )
    if column == 'subset':
        subsets = {uid: str(s) for uid, s in official_subsets().items()}
        return Grouping(column, scan_labels=subsets)
    raise AnnotationError(
        f'strata: no table given has a column {column!r}; name diameter, '
        'subset, or a column of --annotations or --scan-table.'
    )


def _one_label_per_scan(scan_table: str | Path, column: str) -> dict[str, str]:
    labels = read_column(scan_table, column)
    for uid, values in labels.items():
        if len(set(values)) > 1:
            raise AnnotationError(
                f'{scan_table}: series {uid} has several values of '
                f'{column!r} ({", ".join(values[:3])}); a scan has one.'
            )
    return {uid: values[0] for uid, values in labels.items()}


def _refuse_mangled(
    path: str | Path, table: Mapping[str, object], listed: Sequence[str]
) -> None:
    mangled = mangled_ids(table, listed)
    if not mangled:
        return
    given, meant = next(iter(mangled.items()))
    raise AnnotationError(
        f'{path}: {len(mangled)} series ids lost digits, for example '
        f'{given!r}, where the scan list has {meant!r}; their rows would be '
        'left out. Write ids as text, exactly as in the scan list.'
    )
