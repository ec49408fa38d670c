"""Many scans to results: the next is read and the last written meanwhile;
restartable."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

from lungdet.apis.inference_record import (
    BY_AN_ERROR,
    InferenceReport,
    ScanOutcome,
    code_of,
    read_inference_record,
)
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_steps import (
    USUAL,
    InferOptions,
    ScanInWork,
    ScanSteps,
)
from lungdet.apis.store_results import check_storable
from lungdet.errors import (
    INTERRUPTED,
    NO_SPACE,
    ConfigError,
    LungdetError,
    explain,
)
from lungdet.io.atomic import check_writable, scratch_folder


class OverwriteInterrupted(KeyboardInterrupt):
    """Ctrl-C in a run that replaces results, which does not continue.

    Attributes:
        advice: What the user is told instead.
    """

    advice = (
        'run the same command again to start with the first scan, since '
        '--overwrite makes every result anew; without --overwrite it keeps '
        'those that are there.'
    )


class ScanRun:
    """Run a detector on scans, each to a folder of its name.

    While the network works on one scan, the next one is read and prepared, and
    the last one is written; so no more than three are in memory. A scan that
    fails is recorded, and the run continues. A scan is done when its
    ``inference.json`` exists, which is written last; a run that was killed
    continues with the others.

    Args:
        inferencer: Has the detector.
        scans: As returned by ``find_scans``.
        out: Folder of the results.
        options: How scans are read and written.
        on_scan: Called with each outcome, in the order of the scans.
        on_windows: Called with (done, all) after each batch of windows of the
            scan that the network works on.
    """

    def __init__(
        self,
        inferencer: NoduleInferencer,
        scans: Sequence[ScanInput],
        out: str | Path,
        options: InferOptions = USUAL,
        *,
        on_scan: Callable[[ScanOutcome], None] = lambda outcome: None,
        on_windows: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.inferencer = inferencer
        self.scans = scans
        self.out = Path(out)
        self.steps = ScanSteps(inferencer, self.out, options)
        self.on_scan = on_scan
        self.on_windows = on_windows
        self.outcomes: list[ScanOutcome] = []
        self.stopped: str | None = None
        self.stop_code = 3
        self.seconds = 0.0
        self._writing: Future[ScanOutcome] | None = None
        self._stopping = Event()

    def run(self) -> None:
        """Process all scans; a full disk ends the run.

        Raises:
            ConfigError: A scan's folder holds a result that was made
                differently, or with paths that this run is not to keep, and
                nothing may be overwritten; or what is to be stored cannot be.
            OSError: ``out`` cannot be written to.
            OverwriteInterrupted: Ctrl-C, if results are replaced.
        """
        started = time.perf_counter()
        try:
            check_writable(self.out, 'the results')
            if self.steps.options.store:
                check_storable(self.scans, self.steps.options.formats)
            self.work_on(self._without_done())
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                self.stopped = explain(error)
            else:
                self.stopped, self.stop_code = BY_AN_ERROR, code_of(error)
                raise
        except KeyboardInterrupt as error:
            self.stopped, self.stop_code = 'interrupted', INTERRUPTED
            if self.steps.options.overwrite:
                raise OverwriteInterrupted from error
            raise
        finally:
            self.seconds = time.perf_counter() - started

    def report(self) -> InferenceReport:
        """What the run has done so far."""
        return InferenceReport(
            model=self.inferencer.info,
            device=self.inferencer.device,
            backend=self.inferencer.backend,
            precision=self.inferencer.precision,
            settings=self.steps.settings(),
            outcomes=tuple(self.outcomes),
            untried=len(self.scans) - len(self.outcomes),
            stopped=self.stopped,
            stop_code=self.stop_code,
            seconds=self.seconds,
        )

    def work_on(self, scans: Sequence[ScanInput]) -> None:
        """Do all steps of each scan, and report each outcome.

        Raises:
            OSError: The disk is full.
        """
        with (
            scratch_folder(self.out) as scratch,
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(1) as writer,
        ):
            try:
                for work in self._read_ahead(scans, scratch, reader):
                    work = self.steps.detect(work, self.on_windows)
                    self._tell_written()
                    self._writing = writer.submit(self.steps.finish, work)
            finally:  # also what is written while Ctrl-C ends the run
                self._stopping.set()  # a download may take long
                self._tell_written()

    def tell(self, outcome: ScanOutcome) -> None:
        """Add the outcome of a scan."""
        self.outcomes.append(outcome)
        self.on_scan(outcome)
        _clear_frames(outcome.error)

    def _without_done(self) -> list[ScanInput]:
        """Scans to process; those already done get their outcome."""
        if self.steps.options.overwrite:
            return list(self.scans)
        todo, done = [], []
        for scan in self.scans:
            folder = self.steps.folder(scan)
            record = read_inference_record(folder)
            if record is None:
                todo.append(scan)
                continue
            try:
                settings = self.steps.settings_of(scan)
            except (LungdetError, OSError):  # it will fail when it is read
                todo.append(scan)
                continue
            if names := record.differences(settings):
                raise ConfigError(
                    f'{folder}: holds a result of another {", ".join(names)}; '
                    'give another folder by --out, or replace it by '
                    '--overwrite.'
                )
            if record.keeps_phi and not self.steps.options.keep_phi:
                raise ConfigError(
                    f'{folder}: holds a result of a run with --keep-phi, '
                    'with paths that may name the patient; give --keep-phi '
                    'again, another folder by --out, or replace it by '
                    '--overwrite.'
                )
            done.append(self.steps.stored(scan, record, 'skipped'))
        for outcome in done:
            self.tell(outcome)
        return todo

    def _read_ahead(
        self,
        scans: Sequence[ScanInput],
        scratch: Path,
        reader: ThreadPoolExecutor,
    ) -> Iterator[ScanInWork]:
        """Scans in order; the next one is read while one is processed."""
        waiting: Future[ScanInWork] | None = None
        for scan in [*scans, None]:
            ready = waiting and waiting.result()
            if scan is not None:
                waiting = reader.submit(
                    self.steps.read, scan, scratch, self._stopping.is_set
                )
            if ready:
                yield ready

    def _tell_written(self) -> None:
        """Wait for the outcome of the scan that is being written.

        Not while the network works: an error of the writer, such as a full
        disk, would be blamed on the network's scan.
        """
        if self._writing is not None:
            wait([self._writing])
            written, self._writing = self._writing, None
            self.tell(written.result())


def _clear_frames(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold, such as a scan's voxels."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
