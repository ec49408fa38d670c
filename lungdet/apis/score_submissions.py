"""Submissions read from files, scored, and compared pair by pair.

Runs without torch and mmengine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungdet.apis.submission_files import (
    load_grouping,
    load_reference,
    load_submissions,
)
from lungdet.evaluation import (
    Difference,
    EvaluationOptions,
    EvaluationReport,
    Grouping,
    compare_reports,
    difference_text,
    evaluate_submission,
)
from lungdet.io.luna16 import read_candidates
from lungdet.io.table_file import TableFile
from lungdet.structures import ReferenceSet


@dataclass(frozen=True)
class SubmissionInputs:
    """The files of an evaluation; each is read once.

    Attributes:
        submission: csv of marks.
        compare: Other submissions, scored the same way.
        annotations: csv of nodules; None for LUNA16's, as for the next two.
        excluded: csv of excluded findings.
        seriesuids: The scans, one uid per line.
        strata: ``'diameter'``, ``'subset'`` or a column; None for no strata.
        scan_table: csv with more columns of scans.
        candidates: csv of the given candidates of the second track.
        marks_are_candidates: Whether the submission's own positions are the
            candidates.
    """

    submission: Path
    compare: Sequence[Path] = ()
    annotations: Path | None = None
    excluded: Path | None = None
    seriesuids: Path | None = None
    strata: str | None = None
    scan_table: Path | None = None
    candidates: Path | None = None
    marks_are_candidates: bool = False

    def tables(self) -> dict[Path | None, TableFile]:
        """Every named file by its path; a pipe can be read only once."""
        paths = (
            *(self.submission, *self.compare),
            *(self.annotations, self.excluded, self.seriesuids),
            *(self.scan_table, self.candidates),
        )
        return {path: TableFile(path) for path in paths if path is not None}


@dataclass(frozen=True)
class ScoredSubmissions:
    """Reports of a submission and of those that it is compared with.

    Attributes:
        reports: That of the submission first.
        differences: The submission minus each of the others; None if nothing
            can be resampled.
    """

    reports: Sequence[EvaluationReport]
    differences: Sequence[Difference | None]

    def text(self) -> str:
        """All reports, then the differences."""
        first, *others = self.reports
        texts = [report.text() for report in self.reports]
        texts += [
            difference_text(first, other, difference)
            for other, difference in zip(others, self.differences)
        ]
        return '\n\n'.join(texts)


def score_submissions(
    inputs: SubmissionInputs, options: EvaluationOptions
) -> ScoredSubmissions:
    """Score a submission and those that it is compared with.

    Args:
        inputs: The files.
        options: How to score.

    Raises:
        AnnotationError: As the functions of ``submission_files``.
    """
    tables = inputs.tables()
    reference = load_reference(
        tables.get(inputs.annotations),
        tables.get(inputs.excluded),
        tables.get(inputs.seriesuids),
    )
    grouping = _grouping(inputs, tables, reference)
    marks = [tables[path] for path in (inputs.submission, *inputs.compare)]
    reports = []
    for table, submission in zip(marks, load_submissions(marks, reference)):
        given = tables.get(inputs.candidates)
        if given is None and inputs.marks_are_candidates:
            given = table
        reports.append(
            evaluate_submission(
                submission,
                reference,
                options,
                grouping=grouping,
                candidates=None if given is None else read_candidates(given),
            )
        )
    first, *others = reports
    return ScoredSubmissions(reports, compare_reports(first, others, options))


def _grouping(
    inputs: SubmissionInputs,
    tables: Mapping[Path | None, TableFile],
    reference: ReferenceSet,
) -> Grouping | None:
    if not inputs.strata:
        return None
    return load_grouping(
        inputs.strata,
        reference,
        annotations=tables.get(inputs.annotations),
        scan_table=tables.get(inputs.scan_table),
    )
