"""Scoring tested scans against their prepared cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lungdet.errors import ConfigError
from lungdet.evaluation.candidates import summarise_candidates
from lungdet.evaluation.caveats import Caveat
from lungdet.evaluation.detection_ap import AveragePrecision, average_precision
from lungdet.evaluation.froc import FROCResult, evaluate_froc
from lungdet.evaluation.points import (
    Points,
    annotations_by_scan,
    detection_points,
)
from lungdet.evaluation.report import (
    TESTED_RUN,
    EvaluationReport,
    Submission,
)
from lungdet.evaluation.scan_masks import ScanMasks, summarise_masks
from lungdet.evaluation.strata import Grouping, diameter_labels
from lungdet.evaluation.submission import (
    EvaluationOptions,
    evaluate_submission,
)
from lungdet.structures import (
    Annotation,
    CaseRecord,
    ReferenceSet,
    SeriesResult,
)

PART_SCORES = {'rpn': 'rpn_score', 'rcnn': 'rcnn_score'}


@dataclass(frozen=True)
class CaseOptions(EvaluationOptions):
    """How tested scans are scored.

    Attributes:
        strata: ``'diameter'``, or a field of the prepared nodules or scans
            such as ``'num_readers'`` or ``'subset'``; None for no strata.
        candidates: Whether given candidates were scored instead of searching.
    """

    strata: str | None = None
    candidates: bool = False


@dataclass(frozen=True)
class ScoredScan:
    """The part of a tested scan that is kept.

    Attributes:
        result: Its detections, without masks; these are compared earlier.
        masks: Agreement of the masks with the reference.
        losses: The training's losses on the scan, by name.
    """

    result: SeriesResult
    masks: ScanMasks = ScanMasks()
    losses: Mapping[str, float] = field(default_factory=dict)


def evaluate_cases(
    scans: Mapping[str, ScoredScan],
    records: Mapping[str, CaseRecord],
    options: CaseOptions | None = None,
    *,
    official: ReferenceSet,
    num_listed: int | None = None,
) -> EvaluationReport:
    """Score tested scans, of one run or of several folds.

    Args:
        scans: Series uid -> tested scan, in the order of the report.
        records: Prepared cases; those of other scans are ignored.
        options: How to score.
        official: LUNA16's tables, with which the cases are compared.
        num_listed: Scans that were listed for the test; by default those
            tested.

    Raises:
        ConfigError: Unknown strata.
    """
    options = options or CaseOptions()
    cases = {uid: records[uid] for uid in scans}
    reference = case_reference(cases, official)
    marks = {
        uid: detection_points(scan.result.detections)
        for uid, scan in scans.items()
        if scan.result.detections
    }
    report = evaluate_submission(
        Submission('fused', marks),
        reference,
        options,
        grouping=options.strata
        and case_grouping(options.strata, cases)
        or None,
    )
    summary = None
    if options.candidates:
        uncapped = replace(options, max_marks=None)
        summary = summarise_candidates(_froc(marks, reference, uncapped))
    return replace(
        report,
        num_listed=len(scans) if num_listed is None else num_listed,
        parts=_parts(scans, reference, options),
        candidates=summary,
        precision=_precision(scans, cases),
        masks=summarise_masks(scan.masks for scan in scans.values()),
        losses=_mean_losses([scan.losses for scan in scans.values()]),
        caveats=(*report.caveats, *run_caveats(scans)),
    )


def case_reference(
    cases: Mapping[str, CaseRecord], official: ReferenceSet
) -> ReferenceSet:
    """Nodules and excluded findings of prepared cases.

    Args:
        cases: The scans that are scored, in order.
        official: LUNA16's tables.

    Returns:
        The reference, named ``'official'`` if every scan is LUNA16's with the
        rows of its tables, else ``'prepared'``.

    Examples:
        >>> from lungdet.geometry import Geometry
        >>> from lungdet.structures import CaseNodule
        >>> grid = Geometry((9, 9, 9), np.eye(4))
        >>> nodule = CaseNodule(1, (4, 4, 4), 3.0, (3, 3, 3, 6, 6, 6))
        >>> case = CaseRecord('a', 0, grid, grid, 1.0, [nodule], [], 'given')
        >>> tables = ReferenceSet('official', {}, {}, ())
        >>> reference = case_reference({'a': case}, tables)
        >>> reference.name, reference.annotations['a'][0].diameter_mm
        ('prepared', 3.0)
    """
    reference = ReferenceSet(
        'prepared',
        {
            uid: [Annotation(n.center_mm, n.diameter_mm) for n in case.nodules]
            for uid, case in cases.items()
        },
        {uid: case.excluded for uid, case in cases.items()},
        tuple(cases),
    )
    if all(reference.same_rows(official, uid) for uid in cases):
        return replace(reference, name=official.name)
    return reference


def case_grouping(column: str, cases: Mapping[str, CaseRecord]) -> Grouping:
    """Groups of prepared scans or of their nodules.

    Args:
        column: ``'diameter'``, or a field of the scans or of the nodules.
        cases: The scans.

    Raises:
        ConfigError: No such field.
    """
    if column == 'diameter':
        diameters = {
            uid: np.array([n.diameter_mm for n in case.nodules])
            for uid, case in cases.items()
        }
        return Grouping(column, nodule_labels=diameter_labels(diameters))
    if all(column in vars(case) for case in cases.values()):
        labels = {u: _label(vars(case)[column]) for u, case in cases.items()}
        return Grouping(column, scan_labels=labels)
    nodules = {uid: case.nodules for uid, case in cases.items()}
    if any(column not in vars(n) for row in nodules.values() for n in row):
        raise ConfigError(
            f'strata: {column!r} is neither "diameter" nor a field of the '
            'prepared nodules or scans, such as "num_readers" or "subset".'
        )
    return Grouping(
        column,
        nodule_labels={
            uid: [_label(vars(n)[column]) for n in row]
            for uid, row in nodules.items()
        },
    )


def _label(value: object) -> str:
    """A field as the label of a group; empty if it is not known."""
    return '' if value is None else str(value)


def _froc(
    marks: Mapping[str, Points],
    reference: ReferenceSet,
    options: EvaluationOptions,
) -> FROCResult:
    return evaluate_froc(
        annotations_by_scan(reference.annotations),
        annotations_by_scan(reference.excluded),
        marks,
        reference.seriesuids,
        max_marks=options.max_marks,
        read_out=options.read_out,
    )


def _parts(
    scans: Mapping[str, ScoredScan],
    reference: ReferenceSet,
    options: EvaluationOptions,
) -> dict[str, FROCResult]:
    """Results for each score that a detection has."""
    parts = {}
    for name, score in PART_SCORES.items():
        marks = {
            uid: detection_points(scan.result.detections, score)
            for uid, scan in scans.items()
        }
        if any(len(scores) for _, scores in marks.values()):
            parts[name] = _froc(marks, reference, options)
    return parts


def _precision(
    scans: Mapping[str, ScoredScan], cases: Mapping[str, CaseRecord]
) -> AveragePrecision:
    truth, detected = {}, {}
    for uid, scan in scans.items():
        boxes = [nodule.box for nodule in cases[uid].nodules]
        truth[uid] = np.array(boxes, dtype=np.float64).reshape(-1, 6)
        detected[uid] = _boxes(scan.result)
    return average_precision(truth, detected, list(scans))


def _boxes(result: SeriesResult) -> Points:
    """Edge boxes (n, 6) of detections and their scores; points if no size."""
    centers, scores = detection_points(result.detections)
    sizes = [d.size_mm or (0.0, 0.0, 0.0) for d in result.detections]
    size_mm = np.array(sizes, dtype=np.float64).reshape(-1, 3)
    return result.geometry.box_around(centers, size_mm), scores


def run_caveats(scans: Mapping[str, ScoredScan]) -> list[Caveat]:
    """Caveats of the tested run, each text once."""
    texts = [text for s in scans.values() for text in s.result.caveats]
    return [
        Caveat(TESTED_RUN, texts.count(text), text)
        for text in sorted(set(texts))
    ]


def _mean_losses(scans: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each loss over the scans that have it, and their sum."""
    known = [losses for losses in scans if losses]
    if not known:
        return {}
    means = {
        name: float(np.mean([losses[name] for losses in known]))
        for name in known[0]
    }
    return means | {'loss': sum(means.values())}
