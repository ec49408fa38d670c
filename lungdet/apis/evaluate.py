"""A submission's figures by LUNA16's rule, from files.

Runs without torch and mmengine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError
from lungdet.evaluation import (
    MAX_MARKS,
    Bootstrap,
    Difference,
    FROCResult,
    bootstrap_froc,
    evaluate_froc,
    froc_table,
    mangled_ids,
    paired_bootstrap,
)
from lungdet.io.luna16 import (
    as_arrays,
    read_annotations,
    read_excluded,
    read_marks,
    read_seriesuids,
    sha256_of,
)
from lungdet.io.reference_set import ReferenceSet, Table, official_reference

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Submission:
    """A file of marks.

    Attributes:
        name: File name.
        sha256: Of the file.
        marks: Series uid -> centres (n, 3) mm and scores (n,).
    """

    name: str
    sha256: str
    marks: Arrays


@dataclass(frozen=True)
class Evaluation:
    """A submission, what it was scored against, and its figures."""

    submission: Submission
    reference: ReferenceSet
    result: FROCResult
    bootstrap: Bootstrap | None

    def to_dict(self) -> dict:
        """Plain JSON values."""
        listed = self.result.seriesuids
        return {
            'submission': self.submission.name,
            'sha256': self.submission.sha256,
            'reference': self.reference.name,
            **self.result.to_dict(),
            'unmatched_ids': sorted(set(self.submission.marks) - set(listed)),
            'bootstrap': self.bootstrap and self.bootstrap.to_dict(),
        }

    def text(self) -> str:
        """Origin, counts, table and notices, for people."""
        result, listed = self.result, set(self.result.seriesuids)
        counts, marks = result.counts, self.submission.marks
        total = sum(len(scores) for _, scores in marks.values())
        tables = [
            f'{_rows_of(table, listed)} of {_rows_of(table)} {name}'
            for table, name in (
                (self.reference.annotations, 'nodules'),
                (self.reference.excluded, 'excluded findings'),
            )
        ]
        lines = [
            f'submission: {self.submission.name}',
            f'sha256: {self.submission.sha256}',
            f'reference: {self.reference.name}; {" and ".join(tables)} lie '
            f'on the {len(listed)} listed scans',
            f'marks: {total} on {len(marks)} scans; '
            f'{len(set(marks) - listed)} unmatched ids, '
            f'{result.scans_without_marks} listed scans without marks, '
            f'{result.marks_cut} marks cut by the cap',
            f'counts: {counts["tp"]} true positives, {counts["fp"]} false '
            f'positives, {counts["fn"]} false negatives, '
            f'{counts["candidates"]} candidates, '
            f'{counts["ignored_excluded"]} ignored on excluded findings, '
            f'{counts["ignored_double"]} ignored doubles',
            froc_table(
                {self.submission.name: result},
                listed=len(listed),
                bootstraps={self.submission.name: self.bootstrap},
            ),
            *(f'notice: {notice}' for notice in result.notices),
        ]
        return '\n'.join(lines)


def load_reference(
    annotations: str | Path | None = None,
    excluded: str | Path | None = None,
    seriesuids: str | Path | None = None,
) -> ReferenceSet:
    """Reference tables; LUNA16's own where none is given.

    Raises:
        AnnotationError: A table that cannot be right, or ids of a table that
            are listed ones with digits lost.
    """
    official = official_reference()
    parts = {
        'annotations': annotations,
        'excluded': excluded,
        'scans': seriesuids,
    }
    own = [f'{key} {Path(p).name}' for key, p in parts.items() if p]
    reference = ReferenceSet(
        name=', '.join(['official', *own] if len(own) < 3 else own),
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


def load_submission(path: str | Path, reference: ReferenceSet) -> Submission:
    """Read marks, plain or gzipped.

    Raises:
        AnnotationError: A row that cannot be right, or ids that are listed
            ones with digits lost.
    """
    marks = read_marks(path)
    _refuse_mangled(path, marks, reference.seriesuids)
    return Submission(Path(path).name, sha256_of(path), marks)


def evaluate_submission(
    submission: Submission,
    reference: ReferenceSet,
    *,
    read_out: str = 'interp',
    max_marks: int | None = MAX_MARKS,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a submission.

    Args:
        submission: Of ``load_submission``.
        reference: Of ``load_reference``.
        read_out: A name of ``READ_OUTS``.
        max_marks: Cap a scan, None for none.
        bootstrap: Draws of the intervals, 0 for none.
        seed: Of the draws.
    """
    result = evaluate_froc(
        arrays_of(reference.annotations),
        arrays_of(reference.excluded),
        submission.marks,
        reference.seriesuids,
        max_marks=max_marks,
        read_out=read_out,
    )
    return Evaluation(
        submission,
        reference,
        result,
        bootstrap_froc(result, samples=bootstrap, seed=seed),
    )


def compare(
    first: Evaluation, second: Evaluation, *, samples: int, seed: int
) -> Difference | None:
    """Paired bootstrap of two submissions scored alike."""
    return paired_bootstrap(
        first.result, second.result, samples=samples, seed=seed
    )


def arrays_of(table: Table) -> Arrays:
    """Findings as arrays, by series uid."""
    return {uid: as_arrays(found) for uid, found in table.items()}


def _rows_of(table: Table, listed: set[str] | None = None) -> int:
    return sum(
        len(found)
        for uid, found in table.items()
        if listed is None or uid in listed
    )


def _refuse_mangled(
    path: str | Path, uids: Mapping[str, object], listed: tuple[str, ...]
) -> None:
    mangled = mangled_ids(uids, listed)
    if not mangled:
        return
    found, meant = next(iter(mangled.items()))
    raise AnnotationError(
        f'{path}: {len(mangled)} series ids lost digits, for example '
        f'{found!r}, where the scan list has {meant!r}; their rows would be '
        'left out. Write ids as text, exactly as in the scan list.'
    )
