"""Scoring a submission's marks, and comparing several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.evaluation.bootstrap import (
    Bootstrap,
    Difference,
    bootstrap_froc,
    paired_bootstrap,
)
from lungdet.evaluation.calibration import calibrate
from lungdet.evaluation.candidates import (
    check_candidates,
    summarise_candidates,
)
from lungdet.evaluation.caveats import Caveat
from lungdet.evaluation.froc import FROCResult, evaluate_froc
from lungdet.evaluation.matching import MAX_MARKS
from lungdet.evaluation.points import annotations_by_scan
from lungdet.evaluation.report import EvaluationReport, Stratum, Submission
from lungdet.evaluation.scan_lists import check_intervals
from lungdet.evaluation.strata import Grouping
from lungdet.structures import ReferenceSet


@dataclass(frozen=True)
class EvaluationOptions:
    """How marks are scored.

    Attributes:
        bootstrap: Resamples for the 95 % intervals, 0 for none.
        seed: Seed of the resampling.
        read_out: How the curve is read, a name of ``READ_OUTS``.
        max_marks: The cap on a scan's marks, None for none.
    """

    bootstrap: int = 1000
    seed: int = 0
    read_out: str = 'interp'
    max_marks: int | None = MAX_MARKS


def evaluate_submission(
    submission: Submission,
    reference: ReferenceSet,
    options: EvaluationOptions | None = None,
    *,
    grouping: Grouping | None = None,
    candidates: Mapping[str, np.ndarray] | None = None,
) -> EvaluationReport:
    """Score marks by LUNA16's rule.

    Args:
        submission: The marks.
        reference: What they are scored against.
        options: By default those of the challenge.
        grouping: Split the figures by it.
        candidates: Given candidates of the second track, to compare the marks
            with: series uid -> centres (n, 3) mm.

    Raises:
        LungdetError: As ``evaluate_froc``.

    Examples:
        >>> from lungdet.structures import Annotation
        >>> reference = ReferenceSet(
        ...     'toy', {'a': [Annotation((0, 0, 0), 8.0)]}, {}, ('a',)
        ... )
        >>> marks = {'a': (np.zeros((1, 3)), np.array([0.9]))}
        >>> submission = Submission('marks', marks)
        >>> evaluate_submission(submission, reference).result.cpm
        1.0
    """
    options = options or EvaluationOptions()
    tables = (
        annotations_by_scan(reference.annotations),
        annotations_by_scan(reference.excluded),
        submission.marks,
    )
    uids = reference.seriesuids
    result = evaluate_froc(
        *tables, uids, max_marks=options.max_marks, read_out=options.read_out
    )
    caveats, summary = list(result.caveats), None
    strata = _strata(result, grouping, options)
    caveats += _few_scans(result, strata, options)
    if candidates is not None:
        uncapped = evaluate_froc(*tables, uids, max_marks=None)
        summary = summarise_candidates(uncapped)
        caveats += check_candidates(submission.marks, candidates)
    return EvaluationReport(
        submission=submission,
        reference=reference,
        result=result,
        bootstrap=_intervals(result, options),
        num_listed=len(uids),
        calibration=calibrate(result),
        grouped_by=grouping.name if grouping else None,
        strata=strata,
        candidates=summary,
        caveats=tuple(caveats),
    )


def _strata(
    result: FROCResult, grouping: Grouping | None, options: EvaluationOptions
) -> dict[str, Stratum]:
    parts = grouping.split(result) if grouping else {}
    return {
        label: Stratum(part, _intervals(part, options))
        for label, part in parts.items()
    }


def _few_scans(
    result: FROCResult,
    strata: Mapping[str, Stratum],
    options: EvaluationOptions,
) -> list[Caveat]:
    if not options.bootstrap:
        return []
    return check_intervals(
        result.nodules_by_scan,
        {label: s.result.nodules_by_scan for label, s in strata.items()},
    )


def _intervals(
    result: FROCResult, options: EvaluationOptions
) -> Bootstrap | None:
    return bootstrap_froc(
        result, resamples=options.bootstrap, seed=options.seed
    )


def compare_reports(
    first: EvaluationReport,
    others: Sequence[EvaluationReport],
    options: EvaluationOptions,
) -> list[Difference | None]:
    """Paired bootstrap of a report with each of the others.

    Returns:
        The first minus each other; None where nothing can be resampled.

    Raises:
        ConfigError: Two were scored differently.
    """
    return [
        paired_bootstrap(
            first.result,
            other.result,
            resamples=options.bootstrap,
            seed=options.seed,
        )
        for other in others
    ]
