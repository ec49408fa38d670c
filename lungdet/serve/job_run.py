"""Running one job: the same as ``lungdet infer``, in the job's folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lungdet.errors import LungdetError, SeriesError, explain
from lungdet.exporters import EXPORTERS, UnfitSourceError
from lungdet.io.results import read_result

if TYPE_CHECKING:
    from lungdet.apis.inference_record import ScanOutcome
    from lungdet.apis.inferencer import NoduleInferencer
    from lungdet.apis.scan_inputs import ScanInput

RESULT = 'json'  # the format that lists the files of all formats


@dataclass(frozen=True)
class Task:
    """A job as sent to the worker.

    Attributes:
        job_id: Id of the job.
        scan: The uploaded file, under a name chosen by the server.
        work: Folder for temporary files.
        result: Folder of the result.
    """

    job_id: str
    scan: Path
    work: Path
    result: Path


@dataclass(frozen=True)
class Done:
    """Outcome of a job that succeeded.

    Attributes:
        detections: Number of detections.
        files: Names of the result files, by format.
    """

    detections: int
    files: dict[str, list[str]]


@dataclass(frozen=True)
class Failed:
    """Outcome of a job that failed.

    Attributes:
        reason: Reason in one line, for the client only, since it may quote
            the scan.
    """

    reason: str


def run_job(
    inferencer: NoduleInferencer,
    task: Task,
    on_windows: Callable[[int, int], None] = lambda done, total: None,
) -> Done | Failed:
    """Find nodules in the uploaded scan.

    The result is written in all formats that are possible for the scan.

    Args:
        inferencer: The loaded detector.
        task: The job.
        on_windows: Called with (done, total) after each batch of windows.
    """
    try:
        scan = only_scan(task)
        formats = formats_for(scan)
        outcome = _run(inferencer, task, scan, formats, on_windows)
        if isinstance(outcome.error, UnfitSourceError):
            unfit = explain(outcome.error)
            scan = replace(scan, caveats=(*scan.caveats, unfit))
            formats = without_dicom(formats)
            outcome = _run(inferencer, task, scan, formats, on_windows)
        if outcome.state == 'failed':
            return Failed(_without_paths(outcome.reason or '', task))
        _put_result(task.work / outcome.folder, task)
        files = read_result(task.result / EXPORTERS[RESULT].files[0]).files
    except (LungdetError, OSError) as error:
        return Failed(_without_paths(explain(error), task))
    names = {name: list(of) for name, of in files.items() if of}
    names[RESULT] = list(EXPORTERS[RESULT].files)
    return Done(outcome.detections or 0, names)


def only_scan(task: Task) -> ScanInput:
    """The scan of a job: the thinnest series of the only examination.

    An image file gets the id of its job as its name.

    Raises:
        SeriesError: The upload has no scan, or several.
    """
    from lungdet.apis.scan_inputs import find_scans

    scans, left_out = find_scans([task.scan], task.work)
    if len(scans) > 1:
        raise SeriesError(
            f'{task.scan}: contains {len(scans)} scans; send each separately.'
        )
    (scan,) = scans
    return replace(
        scan,
        uid=scan.uid if scan.series_uid else task.job_id,
        caveats=(*scan.caveats, *left_out),
    )


def formats_for(scan: ScanInput) -> tuple[str, ...]:
    """The formats that can be written for a scan.

    Formats whose library is missing are left out, and for a scan that is not
    DICOM, those that need one.

    Args:
        scan: The scan.
    """
    here = tuple(
        name
        for name, exporter in EXPORTERS.items()
        if not exporter.library or find_spec(exporter.library) is not None
    )
    return here if scan.series_uid else without_dicom(here)


def without_dicom(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats that do not need a DICOM scan.

    Args:
        formats: Names of ``EXPORTERS``.
    """
    return tuple(n for n in formats if not EXPORTERS[n].needs_dicom)


def _run(
    inferencer: NoduleInferencer,
    task: Task,
    scan: ScanInput,
    formats: Sequence[str],
    on_windows: Callable[[int, int], None],
) -> ScanOutcome:
    """Run the job like ``lungdet infer``.

    Raises:
        OSError: The disk is full.
    """
    from lungdet.apis.infer_scans import ScanRun
    from lungdet.apis.scan_steps import InferOptions

    options = InferOptions(formats, overwrite=True)
    run = ScanRun(
        inferencer, [scan], task.work, options, on_windows=on_windows
    )
    run.run()
    if run.stopped is not None:
        raise OSError(run.stopped)
    (outcome,) = run.outcomes
    return outcome


def _put_result(folder: Path, task: Task) -> None:
    """Make a folder the job's result.

    A server that was killed before it noted that a job is done has left a
    result. It is moved away first, since a folder that is not empty cannot be
    replaced; a link is moved itself.

    Raises:
        OSError: The folder is not there, or cannot be moved.
    """
    if os.path.lexists(task.result):
        aside = tempfile.mkdtemp(dir=task.work)
        os.replace(task.result, Path(aside) / task.result.name)
    os.replace(folder, task.result)


def _without_paths(text: str, task: Task) -> str:
    """A message without the server's paths."""
    text = text.replace(str(task.scan), 'the scan')
    for folder in (task.work, task.scan.parent):
        text = text.replace(f'{folder}{os.sep}', '')
    return text
