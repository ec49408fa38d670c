"""Submissions, reference tables and groups, read from files.

Runs without torch and mmengine; ``lungdet.evaluation`` scores what is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lungdet.errors import AnnotationError, printable
from lungdet.evaluation import (
    Grouping,
    Submission,
    annotations_by_scan,
    diameter_labels,
    mangled_ids,
)
from lungdet.io.luna16 import (
    has_column,
    read_annotations,
    read_column,
    read_excluded,
    read_marks,
    read_seriesuids,
)
from lungdet.io.reference_set import official_reference, official_subsets
from lungdet.io.table_file import Table, as_table
from lungdet.structures import ReferenceSet


def load_reference(
    annotations: Table | None = None,
    excluded: Table | None = None,
    seriesuids: Table | None = None,
) -> ReferenceSet:
    """Reference tables; LUNA16's own if none is given.

    Args:
        annotations: csv of nodules.
        excluded: csv of excluded findings.
        seriesuids: The scans, one uid per line.

    Raises:
        AnnotationError: An invalid table, one without a listed scan, or one
            whose ids are listed ones with digits lost.
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
            _refuse_unlisted(path, table, reference.seriesuids)
    return reference


def _reference_name(files: Mapping[str, Table | None]) -> str:
    """A name that says which tables are official, and the files of the
    others."""
    given = [f'{what} of {as_table(f).name}' for what, f in files.items() if f]
    whole = len(given) == len(files)
    return ', '.join(given if whole else ['official', *given])


def load_submission(
    path: Table, reference: ReferenceSet, *, name: str | None = None
) -> Submission:
    """Read marks, plain or gzipped.

    Args:
        path: Path of the file.
        reference: The reference for scoring.
        name: For tables and figures; by default the file's.

    Raises:
        AnnotationError: An invalid row; ids that are listed ones with digits
            lost; or mostly unknown ids: marks that are in neither list nor
            tables, or listed scans that LUNA16's tables do not have.
    """
    table = as_table(path)
    marks = read_marks(table)
    _refuse_mangled(table, marks, reference.seriesuids)
    _refuse_unknown_scans(reference)
    _refuse_foreign(table, marks, reference)
    return Submission(name or table.name, marks, table.sha256)


def load_submissions(
    paths: Sequence[Table], reference: ReferenceSet
) -> list[Submission]:
    """Read several submissions; files of equal names are labelled by their
    paths.

    Args:
        paths: Paths of the files.
        reference: The reference for scoring.

    Raises:
        AnnotationError: As ``load_submission``.
    """
    tables = [as_table(path) for path in paths]
    names = [table.name for table in tables]
    if len(set(names)) < len(names):
        names = [printable(str(table)) for table in tables]
    return [
        load_submission(table, reference, name=name)
        for table, name in zip(tables, names)
    ]


def load_grouping(
    column: str,
    reference: ReferenceSet,
    *,
    annotations: Table | None = None,
    scan_table: Table | None = None,
) -> Grouping:
    """Groups of nodules or of scans, by a column.

    Args:
        column: ``'diameter'``, ``'subset'`` (LUNA16's), or a column of
            ``scan_table`` (groups of scans) or of ``annotations`` (of
            nodules).
        reference: As returned by ``load_reference``.
        annotations: The table of nodules, if it is not the official one.
        scan_table: A csv with a header, ``seriesuid`` and the column.

    Raises:
        AnnotationError: No such column, one that ``scan_table`` does not have,
            or a scan with several values.
    """
    if column == 'diameter':
        nodules = annotations_by_scan(reference.annotations)
        diameters = {uid: values for uid, (_, values) in nodules.items()}
        return Grouping(column, nodule_labels=diameter_labels(diameters))
    if scan_table:
        if not has_column(scan_table, column):
            raise AnnotationError(
                f'{scan_table}: has no column {column!r}, which is the only '
                'thing that it is read for; name one of its columns, or '
                'leave it out.'
            )
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


def _one_label_per_scan(scan_table: Table, column: str) -> dict[str, str]:
    labels = read_column(scan_table, column)
    for uid, values in labels.items():
        if len(set(values)) > 1:
            raise AnnotationError(
                f'{scan_table}: series {uid} has several values of '
                f'{column!r} ({", ".join(values[:3])}); a scan has one.'
            )
    return {uid: values[0] for uid, values in labels.items()}


def _refuse_mangled(
    path: Table, table: Mapping[str, object], listed: Sequence[str]
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


def _refuse_unlisted(
    path: Table, table: Mapping[str, object], listed: Sequence[str]
) -> None:
    """Refuse a table without listed scans: none would have a nodule."""
    if not table or not set(table).isdisjoint(listed):
        return
    raise AnnotationError(
        f'{path}: none of its {len(table)} scans is in the list of '
        f'{len(listed)} scans (first: {next(iter(table))!r}, the list begins '
        f'with {listed[0]!r}); ids are compared as text. Check the ids and '
        'the list.'
    )


def _refuse_unknown_scans(reference: ReferenceSet) -> None:
    """Refuse listed scans that LUNA16's tables do not name.

    Those tables name all its scans; in other tables, a scan without nodules
    has no row.
    """
    if reference.annotations != official_reference().annotations:
        return
    known = {*reference.annotations, *reference.excluded}
    listed = reference.seriesuids
    unknown = [uid for uid in listed if uid not in known]
    if 2 * len(unknown) > len(listed):
        raise AnnotationError(
            f'{reference.name}: {len(unknown)} of {len(listed)} listed scans '
            f"are not in LUNA16's tables (first: {unknown[0]!r}) and would "
            'count as scans without nodules. Check the ids, or give '
            '--annotations of these scans.'
        )


def _refuse_foreign(
    path: Table, marks: Mapping[str, object], reference: ReferenceSet
) -> None:
    known = {
        *reference.seriesuids,
        *reference.annotations,
        *reference.excluded,
    }
    foreign = [uid for uid in marks if uid not in known]
    if 2 * len(foreign) <= len(marks) or len(foreign) == len(marks):
        return  # no listed scan at all: reported when they are scored
    raise AnnotationError(
        f'{path}: {len(foreign)} of {len(marks)} scans are neither in the '
        f'scan list nor in the tables (first: {foreign[0]!r}); ids are '
        'compared as text. Check the ids and the list.'
    )
