"""A submission's figures by LUNA16's rule, from files.

Runs without torch and mmengine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lungdet.errors import AnnotationError, ConfigError
from lungdet.evaluation import (
    MAX_MARKS,
    Bootstrap,
    Calibration,
    CandidateSummary,
    Caveat,
    Difference,
    FROCResult,
    bootstrap_froc,
    calibrate,
    check_candidates,
    diameter_labels,
    difference_table,
    evaluate_froc,
    froc_table,
    mangled_ids,
    paired_bootstrap,
    strata_by_nodule,
    strata_by_scan,
    summarise_candidates,
)
from lungdet.io.atomic import atomic_path, write_text
from lungdet.io.luna16 import (
    as_arrays,
    has_column,
    read_annotations,
    read_column,
    read_excluded,
    read_marks,
    read_seriesuids,
    sha256_of,
)
from lungdet.io.reference_set import official_reference, official_subsets
from lungdet.structures import AnnotationTable, ReferenceSet

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]
FIGURES = ('.png', '.svg', '.pdf')


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
class Groups:
    """A way to split a result.

    Attributes:
        name: Printed above the table.
        split: Result -> label -> result of the group.
    """

    name: str
    split: Callable[[FROCResult], dict[str, FROCResult]]


@dataclass(frozen=True)
class Evaluation:
    """A submission, what it was scored against, and its figures.

    Attributes:
        submission: The marks.
        reference: What they were scored against.
        result: By the rule.
        bootstrap: Its intervals, None without resamples.
        calibration: None where scores are no probabilities.
        groups: Name of the strata.
        strata: Label -> result and intervals.
        candidates: Of the second track.
        caveats: Of the result and of the candidates.
    """

    submission: Submission
    reference: ReferenceSet
    result: FROCResult
    bootstrap: Bootstrap | None
    calibration: Calibration | None
    groups: str = ''
    strata: Mapping[str, tuple[FROCResult, Bootstrap | None]] = field(
        default_factory=dict
    )
    candidates: CandidateSummary | None = None
    caveats: Sequence[Caveat] = ()

    def to_dict(self) -> dict:
        """Plain JSON values."""
        listed = set(self.result.seriesuids)
        return {
            'submission': self.submission.name,
            'sha256': self.submission.sha256,
            'reference': self.reference.name,
            **self.result.to_dict(),
            'caveats': [vars(caveat) for caveat in self.caveats],
            'unmatched_ids': sorted(set(self.submission.marks) - listed),
            'bootstrap': self.bootstrap and self.bootstrap.to_dict(),
            'calibration': self.calibration and asdict(self.calibration),
            'candidates': self.candidates and asdict(self.candidates),
            'strata': {
                label: result.to_dict()
                | {'bootstrap': bounds and bounds.to_dict()}
                for label, (result, bounds) in self.strata.items()
            },
        }

    def text(self) -> str:
        """Origin, counts, tables and caveats, for people."""
        lines = [
            *self._origin(),
            self._table({self.submission.name: (self.result, self.bootstrap)}),
        ]
        if self.candidates is not None:
            lines.append(_candidate_line(self.candidates))
        if self.calibration is not None:
            lines.append(
                f'calibration: error {self.calibration.error:.3f}, Brier '
                f'score {self.calibration.brier:.3f}, '
                f'{sum(self.calibration.numbers)} marks'
            )
        if self.strata:
            whole = {'all': (self.result, self.bootstrap)}
            lines += [
                f'by {self.groups}:',
                self._table(whole | dict(self.strata)),
            ]
        return '\n'.join(
            [*lines, *(f'caveat: {caveat}' for caveat in self.caveats)]
        )

    def _table(
        self, rows: Mapping[str, tuple[FROCResult, Bootstrap | None]]
    ) -> str:
        return froc_table(
            {name: result for name, (result, _) in rows.items()},
            listed=len(self.result.seriesuids),
            bootstraps={name: bounds for name, (_, bounds) in rows.items()},
        )

    def _origin(self) -> list[str]:
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
        return [
            f'submission: {self.submission.name}',
            f'sha256: {self.submission.sha256}',
            f'reference: {self.reference.name}',
            f'on the {len(listed)} listed scans: {", ".join(tables)}',
            f'marks: {total} on {len(marks)} scans, '
            f'{len(set(marks) - listed)} unmatched ids, '
            f'{result.scans_without_marks} listed scans without marks, '
            f'{result.marks_cut} cut by the cap',
            f'counts: {counts["tp"]} true positives, {counts["fp"]} false '
            f'positives, {counts["fn"]} false negatives,',
            f'  {counts["candidates"]} candidates, '
            f'{counts["ignored_excluded"]} ignored on excluded findings, '
            f'{counts["ignored_double"]} ignored doubles',
        ]


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
    parts = {
        'annotations': annotations,
        'excluded': excluded,
        'scans': seriesuids,
    }
    own = [f'{key} of {Path(p).name}' for key, p in parts.items() if p]
    reference = ReferenceSet(
        name=', '.join(['official', *own] if len(own) < 3 else own),
        annotations=read_annotations(annotations)
        if annotations
        else official_reference().annotations,
        excluded=read_excluded(excluded)
        if excluded
        else official_reference().excluded,
        seriesuids=tuple(read_seriesuids(seriesuids))
        if seriesuids
        else official_reference().seriesuids,
    )
    for path, table in (
        (annotations, reference.annotations),
        (excluded, reference.excluded),
    ):
        if path:
            _refuse_mangled(path, table, reference.seriesuids)
    return reference


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
    return Submission(name or Path(path).name, sha256_of(path), marks)


def load_submissions(
    paths: Sequence[str | Path], reference: ReferenceSet
) -> list[Submission]:
    """Read several; files of one name are called by their whole paths.

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


def load_groups(
    column: str,
    reference: ReferenceSet,
    *,
    annotations: str | Path | None = None,
    scan_table: str | Path | None = None,
) -> Groups:
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
        diameters = {
            uid: as_arrays(found)[1]
            for uid, found in reference.annotations.items()
        }
        labels = diameter_labels(diameters)
        return Groups(column, partial(strata_by_nodule, labels=labels))
    if scan_table and has_column(scan_table, column):
        return Groups(
            f'{column} of scans',
            partial(strata_by_scan, labels=_one_each(scan_table, column)),
        )
    if annotations and has_column(annotations, column):
        of_nodules = read_column(annotations, column)
        return Groups(
            f'{column} of nodules',
            partial(strata_by_nodule, labels=of_nodules),
        )
    if column == 'subset':
        subsets = {u: str(s) for u, s in official_subsets().items()}
        return Groups(column, partial(strata_by_scan, labels=subsets))
    raise AnnotationError(
        f'strata: no table given has a column {column!r}; name diameter, '
        'subset, or a column of --annotations or --scan-table.'
    )


def _one_each(scan_table: str | Path, column: str) -> dict[str, str]:
    """The value of each scan."""
    found = read_column(scan_table, column)
    for uid, values in found.items():
        if len(set(values)) > 1:
            raise AnnotationError(
                f'{scan_table}: series {uid} has several values of '
                f'{column!r} ({", ".join(values[:3])}); a scan has one.'
            )
    return {uid: values[0] for uid, values in found.items()}


def evaluate_submission(
    submission: Submission,
    reference: ReferenceSet,
    *,
    read_out: str = 'interp',
    max_marks: int | None = MAX_MARKS,
    bootstrap: int = 1000,
    seed: int = 0,
    groups: Groups | None = None,
    candidates: Mapping[str, np.ndarray] | None = None,
) -> Evaluation:
    """Score a submission.

    Args:
        submission: Of ``load_submission``.
        reference: Of ``load_reference``.
        read_out: A name of ``READ_OUTS``.
        max_marks: Cap a scan, None for none.
        bootstrap: Resamples for the intervals, 0 for none.
        seed: Of the resampling.
        groups: Of ``load_groups``.
        candidates: The given ones of the second track: series uid ->
            centres (n, 3) mm.
    """
    score = partial(
        evaluate_froc,
        arrays_of(reference.annotations),
        arrays_of(reference.excluded),
        submission.marks,
        reference.seriesuids,
        read_out=read_out,
    )
    draw = partial(bootstrap_froc, resamples=bootstrap, seed=seed)
    result = score(max_marks=max_marks)
    caveats = list(result.caveats)
    summary = None
    if candidates is not None:
        summary = summarise_candidates(score(max_marks=None))
        caveats += check_candidates(submission.marks, candidates)
    strata = groups.split(result) if groups else {}
    return Evaluation(
        submission=submission,
        reference=reference,
        result=result,
        bootstrap=draw(result),
        calibration=calibrate(result),
        groups=groups.name if groups else '',
        strata={name: (part, draw(part)) for name, part in strata.items()},
        candidates=summary,
        caveats=tuple(caveats),
    )


def compare(
    first: Evaluation,
    others: Sequence[Evaluation],
    *,
    resamples: int,
    seed: int,
) -> list[Difference | None]:
    """Paired bootstrap of ``first`` with each other submission."""
    return [
        paired_bootstrap(
            first.result, other.result, resamples=resamples, seed=seed
        )
        for other in others
    ]


def difference_text(
    first: Evaluation, other: Evaluation, difference: Difference | None
) -> str:
    """The paired comparison, for people."""
    names = f'{first.submission.name} less {other.submission.name}'
    if difference is None:
        return f'{names}: nothing to draw'
    return '\n'.join(
        [
            f'{names}, {difference.resamples} resamples of the same scans:',
            difference_table(difference, first.result.rates),
        ]
    )


def write_json(
    path: str | Path,
    evaluations: Sequence[Evaluation],
    differences: Sequence[Difference | None],
) -> None:
    """Write the first evaluation, the others below it with differences."""
    first, *others = evaluations
    content = first.to_dict()
    content['compared'] = [
        {**other.to_dict(), 'difference': found and found.to_dict()}
        for other, found in zip(others, differences)
    ]
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_plot(path: str | Path, evaluations: Sequence[Evaluation]) -> None:
    """Write all curves with their bands in one figure, png, svg or pdf.

    Raises:
        ConfigError: Another suffix.
    """
    from lungdet.report.froc_figure import froc_figure

    check_figure(path)
    figure = froc_figure(
        {e.submission.name: e.result for e in evaluations},
        {e.submission.name: e.bootstrap for e in evaluations},
    )
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=200)


def check_figure(path: str | Path) -> None:
    """Refuse a figure that cannot be written, before anything is scored.

    Raises:
        ConfigError: Its suffix is none of png, svg and pdf.
    """
    if Path(path).suffix not in FIGURES:
        raise ConfigError(
            f'{path}: figures are written as {", ".join(FIGURES)}; choose '
            'one of these suffixes.'
        )


def arrays_of(table: AnnotationTable) -> Arrays:
    """Findings as arrays, by series uid."""
    return {uid: as_arrays(found) for uid, found in table.items()}


def _candidate_line(found: CandidateSummary) -> str:
    ceiling = '-' if found.ceiling is None else f'{found.ceiling:.3f}'
    auc = '-' if found.auc is None else f'{found.auc:.4f}'
    return (
        f'candidates: {found.candidates} before the cap, {found.on_nodules} '
        f'on nodules, {found.on_excluded} on excluded findings;\n  '
        f'{found.reached} of {found.nodules} nodules have one, so no scores '
        f'exceed a sensitivity of {ceiling}; AUC {auc}'
    )


def _rows_of(table: AnnotationTable, listed: set[str] | None = None) -> int:
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
