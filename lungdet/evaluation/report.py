"""The evaluation report, of submissions and of tested runs.

A submission's marks and a tested run's detections are scored, printed and
written the same way; parts that one of them lacks are empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np

from lungdet.errors import printable
from lungdet.evaluation.bootstrap import Bootstrap, Difference
from lungdet.evaluation.calibration import Calibration
from lungdet.evaluation.candidates import CandidateSummary
from lungdet.evaluation.caveats import Caveat
from lungdet.evaluation.detection_ap import AveragePrecision
from lungdet.evaluation.froc import FROCResult
from lungdet.evaluation.points import PointsByScan
from lungdet.evaluation.report_lines import (
    calibration_line,
    candidate_lines,
    count_lines,
    precision_lines,
    reference_line,
)
from lungdet.evaluation.scan_masks import MaskSummary
from lungdet.evaluation.table import difference_table, froc_table, mask_table
from lungdet.structures import ReferenceSet

FROC_SCHEMA = 'lungdet.froc/1'
TESTED_RUN = 'tested-run'  # name of a tested run's caveats about its scans


@dataclass(frozen=True)
class Submission:
    """Marks to be scored.

    Attributes:
        name: Label of its row in tables and of its curve.
        marks: Series uid -> centres (n, 3) mm and scores (n,).
        sha256: SHA-256 of the file they were read from, None if there is none.
    """

    name: str
    marks: PointsByScan
    sha256: str | None = None


class Stratum(NamedTuple):
    """The result of a group of nodules or scans, with its intervals."""

    result: FROCResult
    bootstrap: Bootstrap | None


@dataclass(frozen=True)
class EvaluationReport:
    """Detections scored against a reference.

    Attributes:
        submission: What was scored.
        reference: What it was scored against.
        result: By LUNA16's rule.
        bootstrap: Its intervals, None without resamples.
        num_listed: Scans that were listed; a tested run may have fewer.
        parts: Name -> result of another score of the same detections, such
            as ``'rpn'`` and ``'rcnn'``.
        calibration: None if scores are not probabilities.
        grouped_by: Name of the strata.
        strata: Label -> result and intervals of the group.
        candidates: Summary of given candidates (LUNA16's second track).
        precision: Average precision of the boxes, None if marks have none.
        masks: Scope -> measure -> mean, and the number of values.
        losses: The training's losses on these scans, and their sum.
        caveats: What anyone who uses the figures must know.

    Examples:
        >>> from lungdet.evaluation import evaluate_submission
        >>> from lungdet.structures import Annotation
        >>> nodules = {'a': [Annotation((0, 0, 0), 8.0)]}
        >>> reference = ReferenceSet('toy', nodules, {}, ('a',))
        >>> marks = {'a': (np.zeros((1, 3)), np.array([0.9]))}
        >>> report = evaluate_submission(Submission('x', marks), reference)
        >>> report.metrics()['froc/cpm'], report.unmatched_ids
        (1.0, [])
    """

    submission: Submission
    reference: ReferenceSet
    result: FROCResult
    bootstrap: Bootstrap | None
    num_listed: int
    parts: Mapping[str, FROCResult] = field(default_factory=dict)
    calibration: Calibration | None = None
    grouped_by: str | None = None
    strata: Mapping[str, Stratum] = field(default_factory=dict)
    candidates: CandidateSummary | None = None
    precision: AveragePrecision | None = None
    masks: MaskSummary = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    caveats: tuple[Caveat, ...] = ()

    @property
    def run_caveats(self) -> list[str]:
        """Caveats of a tested run, such as that it was trained on its
        scans."""
        return [c.text for c in self.caveats if c.name == TESTED_RUN]

    @property
    def unmatched_ids(self) -> list[str]:
        """Series uids of the submission that are not listed."""
        return sorted(set(self.submission.marks) - set(self.result.seriesuids))

    def text(self) -> str:
        """Origin, counts, tables and caveats as text."""
        whole = {self.submission.name: Stratum(self.result, self.bootstrap)}
        parts = {k: Stratum(part, None) for k, part in self.parts.items()}
        lines = self._origin()
        lines += count_lines(self.result, self.submission.marks)
        lines.append(self._table(whole | parts))
        if self.candidates is not None:
            lines += candidate_lines(self.candidates)
        if self.calibration is not None:
            lines.append(calibration_line(self.calibration))
        if self.precision is not None:
            lines += precision_lines(self.precision)
        if self.masks:
            lines.append(mask_table(self.masks))
        if self.strata:
            name = 'all' if 'all' not in self.strata else 'all of them'
            whole = {name: Stratum(self.result, self.bootstrap)}
            lines += [
                f'by {self.grouped_by}:',
                self._table(whole | dict(self.strata)),
            ]
        lines += [printable(f'caveat: {c}') for c in self.caveats]
        return '\n'.join(lines)

    def _origin(self) -> list[str]:
        lines = [
            f'reference: {self.reference.name}',
            reference_line(self.reference),
        ]
        if self.submission.sha256 is None:
            return lines
        return [
            f'submission: {self.submission.name}',
            f'sha256: {self.submission.sha256}',
            *lines,
        ]

    def _table(self, rows: Mapping[str, Stratum]) -> str:
        return froc_table(
            {name: row.result for name, row in rows.items()},
            listed=self.num_listed,
            bootstraps={name: row.bootstrap for name, row in rows.items()},
        )

    def metrics(self) -> dict[str, float]:
        """Figures by name, for a training log.

        Without a nodule there is no CPM and no sensitivity; a 0 would look
        like a network that detects nothing.
        """
        values = {}
        if self.result.cpm is not None:
            values['froc/cpm'] = self.result.cpm
        rates = self.result.rates
        for rate, value in zip(rates, self.result.sensitivities or []):
            values[f'froc/sens@{rate:g}'] = value
        if self.precision is not None and self.precision.values is not None:
            values['ap/ap@0.1'] = self.precision.values[0]
            values['ap/map@0.1:0.5'] = float(np.mean(self.precision.values))
        for scope, measures in self.masks.items():
            for measure, (mean, _) in measures.items():
                values[f'mask/{measure}_{scope}'] = mean
        return values | dict(self.losses)

    def to_dict(self) -> dict:
        """Plain JSON values; see ``lungdet/schemas/froc.schema.json``."""
        return {
            'schema': FROC_SCHEMA,
            'name': self.submission.name,
            'sha256': self.submission.sha256,
            'reference': self.reference.name,
            'num_listed': self.num_listed,
            **self.result.to_dict(),
            'unmatched_ids': self.unmatched_ids,
            'bootstrap': self.bootstrap and self.bootstrap.to_dict(),
            'parts': {k: part.to_dict() for k, part in self.parts.items()},
            'calibration': self.calibration and asdict(self.calibration),
            'grouped_by': self.grouped_by,
            'strata': {
                label: {
                    **stratum.result.to_dict(),
                    'bootstrap': stratum.bootstrap
                    and stratum.bootstrap.to_dict(),
                }
                for label, stratum in self.strata.items()
            },
            'candidates': self.candidates and asdict(self.candidates),
            'average_precision': self.precision and self.precision.to_dict(),
            'masks': {
                f'{measure}_{scope}': {'mean': mean, 'number': number}
                for scope, measures in self.masks.items()
                for measure, (mean, number) in measures.items()
            },
            'losses': dict(self.losses),
            'caveats': [asdict(caveat) for caveat in self.caveats],
        }


def compared_dict(
    reports: Sequence[EvaluationReport],
    differences: Sequence[Difference | None],
) -> dict:
    """The first report's JSON values, with the others in ``compared``.

    Args:
        reports: One or more.
        differences: The first minus each of the others.
    """
    first, *others = reports
    return first.to_dict() | {
        'compared': [
            {
                **other.to_dict(),
                'difference': difference and difference.to_dict(),
            }
            for other, difference in zip(others, differences)
        ]
    }


def difference_text(
    first: EvaluationReport,
    other: EvaluationReport,
    difference: Difference | None,
) -> str:
    """The paired comparison of two reports as text."""
    names = f'{first.submission.name} minus {other.submission.name}'
    if difference is None:
        return f'{names}: nothing to resample'
    return '\n'.join(
        [
            f'{names}, {difference.resamples} resamples of the same scans:',
            difference_table(difference, first.result.rates),
        ]
    )
