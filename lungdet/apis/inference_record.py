"""What a run on scans leaves besides results: a record of each, and a report.

``lungdet/schemas/inference.schema.json`` and ``infer_report.schema.json``
state their shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lungdet
from lungdet.errors import CLOSED, INTERRUPTED, LungdetError
from lungdet.io.atomic import write_text
from lungdet.io.files import safe_name
from lungdet.io.json_file import (
    items,
    keyed,
    number,
    read_object,
    shape_checked,
    text,
    whole,
)
from lungdet.structures import ModelInfo

RECORD = 'inference.json'
RECORD_SCHEMA = 'lungdet.inference/1'
REPORT_SCHEMA = 'lungdet.infer_report/1'
STATES = ('done', 'skipped', 'failed')
BY_AN_ERROR = 'by an error'  # whose text may name a patient
REMEDY = 'Remove the folder, or run with --overwrite.'


@dataclass(frozen=True)
class ScanOutcome:
    """The outcome of one scan of a run.

    Attributes:
        series_uid: Series uid of the scan.
        folder: Name of its folder in that of the results.
        state: ``'done'``, ``'skipped'`` (an earlier run did it) or
            ``'failed'``.
        reason: Why it failed, in one line; None otherwise.
        detections: How many, None of a scan without a result.
        best_score: None without detections.
        caveats: Caveats of its result.
        seconds: Wall time of each step.
        path: Where the scan lies, None unless that was asked for.
        precision: ``'fp32'`` or ``'bf16'``; None without a result, or if an
            early version made it.
        error: What was raised, for a traceback.
    """

    series_uid: str
    folder: str
    state: str
    reason: str | None = None
    detections: int | None = None
    best_score: float | None = None
    caveats: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    path: str | None = None
    precision: str | None = None
    error: Exception | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = {**vars(self), 'seconds': dict(self.seconds)}
        del values['error']
        return {**values, 'caveats': list(self.caveats)}


@dataclass(frozen=True)
class InferenceRecord:
    """``inference.json``: says that a result is complete, and how it was made.

    Attributes:
        series_uid: Series uid of the scan.
        detections: How many.
        best_score: None without detections.
        caveats: Caveats of the result.
        seconds: Wall time of each step.
        settings: What the result depends on; equal settings mean an equal
            result.
        path: Where the scan lies, None unless that was asked for.
        patient_id: Likewise.
        stored: File name -> root of the server that has taken it.
        precision: In which it was computed, which ``'auto'`` of the settings
            does not say; None if an early version made it.
    """

    series_uid: str
    detections: int
    best_score: float | None
    caveats: tuple[str, ...]
    seconds: Mapping[str, float]
    settings: Mapping[str, Any]
    path: str | None = None
    patient_id: str | None = None
    stored: Mapping[str, str] = field(default_factory=dict)
    precision: str | None = None

    def write(self, folder: Path) -> None:
        """Write it to a folder, after everything else."""
        values = {
            **vars(self),
            'caveats': list(self.caveats),
            'stored': dict(self.stored),
        }
        content = {
            'schema': RECORD_SCHEMA,
            'lungdet_version': lungdet.__version__,
            **values,
        }
        write_text(folder / RECORD, json.dumps(content, indent=1))

    @property
    def keeps_phi(self) -> bool:
        """Whether paths, which may name the patient, were to be kept in it and
        in its caveats."""
        return self.path is not None

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove a folder's record: its content is not complete."""
        (folder / RECORD).unlink(missing_ok=True)

    def differences(self, settings: Mapping[str, Any]) -> list[str]:
        """Names of settings that are not equal."""
        return [
            name
            for name in [*settings, *(self.settings.keys() - settings.keys())]
            if self.settings.get(name) != settings.get(name)
        ]

    def outcome(self, state: str) -> ScanOutcome:
        """The outcome of its scan in a run."""
        return ScanOutcome(
            series_uid=self.series_uid,
            folder=safe_name(self.series_uid),
            state=state,
            detections=self.detections,
            best_score=self.best_score,
            caveats=self.caveats,
            seconds=self.seconds,
            path=self.path,
            precision=self.precision,
        )


def read_inference_record(folder: Path) -> InferenceRecord | None:
    """The record of a scan's folder; None if it has no complete result.

    Raises:
        SeriesError: It is damaged, or of another version.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    values = read_object(path, REMEDY)
    with shape_checked(str(path), REMEDY):
        if values['schema'] != RECORD_SCHEMA:
            raise ValueError(f'schema {values["schema"]!r}')
        best, precision = values['best_score'], values.get('precision')
        return InferenceRecord(
            series_uid=text(values['series_uid']),
            detections=whole(values['detections']),
            best_score=None if best is None else number(best),
            caveats=tuple(map(text, items(values['caveats']))),
            seconds={
                name: number(value)
                for name, value in keyed(values['seconds']).items()
            },
            settings=keyed(values['settings']),
            path=values['path'] and text(values['path']),
            patient_id=values['patient_id'] and text(values['patient_id']),
            stored={
                name: text(root)
                for name, root in keyed(values['stored']).items()
            },
            precision=None if precision is None else text(precision),
        )


@dataclass(frozen=True)
class WorkerCounts:
    """Counts of a cluster's workers in a run.

    Attributes:
        started: Workers that started.
        lost: Workers that were killed during a scan.
        retried: Scans that went to another worker, counted each time.
    """

    started: int
    lost: int
    retried: int


@dataclass(frozen=True)
class InferenceReport:
    """What a run did.

    Attributes:
        model: The detector; None if the run ended before it was loaded.
        device: As torch names it; several are joined by commas; None like
            the model.
        precision: Of this run: ``'fp32'``, ``'bf16'``, or both if machines
            differ; None like the model.
        settings: Settings that all results share.
        outcomes: Outcomes of the scans that were tried, or done before.
        untried: Scans that remained when the run stopped.
        stopped: Why it stopped, None if it did not.
        stop_code: Exit code of the command if it stopped.
        seconds: Wall time of the run without the start of the program.
        backend: What computed the network.
        workers: Counts of a cluster, None without one.
    """

    model: ModelInfo | None = None
    device: str | None = None
    precision: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    outcomes: tuple[ScanOutcome, ...] = ()
    untried: int = 0
    stopped: str | None = None
    stop_code: int = 3
    seconds: float = 0.0
    backend: str = 'torch'
    workers: WorkerCounts | None = None

    def count(self, state: str) -> int:
        """Number of scans in a state."""
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def precisions(self) -> list[str]:
        """Those of all results, including what an earlier run did; without
        results that of this run."""
        of_results = {o.precision for o in self.outcomes if o.precision}
        of_run = self.precision.split(', ') if self.precision else []
        return sorted(of_results or of_run)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, 2 if no scan could be used, 3 if some
        failed, ``stop_code`` if it stopped."""
        if self.stopped:
            return self.stop_code
        failed = self.count('failed')
        if failed and failed == len(self.outcomes):
            return 2
        return 3 if failed else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            'schema': REPORT_SCHEMA,
            'lungdet_version': lungdet.__version__,
            'ended': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'model': self.model and _model_to_dict(self.model),
            'device': self.device,
            'backend': self.backend,
            'precision': ', '.join(self.precisions) or None,
            'settings': dict(self.settings),
            'counts': {
                **{state: self.count(state) for state in STATES},
                'untried': self.untried,
            },
            'stopped': self.stopped,
            'exit_code': self.exit_code,
            'seconds': round(self.seconds, 3),
            'workers': self.workers and asdict(self.workers),
            'scans': [outcome.to_dict() for outcome in self.outcomes],
        }

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_text(path, json.dumps(self.to_dict(), indent=1) + '\n')


def ended_by(error: BaseException) -> InferenceReport:
    """The report of a run that ended before its detector was loaded, such as
    one on inputs without a scan.

    Args:
        error: What ended it; its text may name a patient, and is left out.
    """
    interrupted = isinstance(error, KeyboardInterrupt)
    return InferenceReport(
        stopped='interrupted' if interrupted else BY_AN_ERROR,
        stop_code=code_of(error),
    )


def code_of(error: BaseException) -> int:
    """Exit code of a command that an error ends; 1 after one of lungdet's
    own.
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return CLOSED
    return 2 if isinstance(error, LungdetError | OSError) else 1


def _model_to_dict(model: ModelInfo) -> dict[str, Any]:
    return {**asdict(model), 'window': [*model.window]}
