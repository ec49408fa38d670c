"""What is done with one scan: read, detect, write, each with its errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lungdet.apis.inference_record import InferenceRecord, ScanOutcome
from lungdet.apis.inferencer import InferenceCase, NoduleInferencer
from lungdet.apis.private_names import PrivateNames
from lungdet.apis.scan_input import ScanInput
from lungdet.apis.store_results import store_results
from lungdet.apis.window_progress import OnWindows
from lungdet.errors import NO_SPACE, LungdetError, explain
from lungdet.exporters import DEFAULT_FORMATS, check_source, export_result
from lungdet.io.atomic import make_folder, remove_leftovers
from lungdet.io.files import safe_name
from lungdet.io.image import load_volume
from lungdet.prepare.fingerprint import fingerprint
from lungdet.structures import SeriesResult, Volume

# errors of libraries that may quote a value of a header
QUOTING = (ValueError, TypeError, KeyError)


@dataclass(frozen=True)
class InferOptions:
    """How the scans of a run are read and written.

    Attributes:
        formats: Names of ``lungdet.exporters.EXPORTERS``.
        hu_offset: Added to values that were stored without their offset.
        overwrite: Replace existing results; otherwise they are kept.
        keep_phi: Keep paths, which may name patients, in messages, records
            and reports.
        store: Send SEG and SR to the server that a scan was fetched from.
    """

    formats: Sequence[str] = DEFAULT_FORMATS
    hu_offset: int | None = None
    overwrite: bool = False
    keep_phi: bool = False
    store: bool = False


USUAL = InferOptions()


@dataclass(frozen=True, eq=False)
class ScanInWork:
    """A scan between its steps; its files exist until it is finished.

    Attributes:
        scan: Where it lies.
        names: Takes the names of its folders and files out of messages.
        files: Its unpacked or fetched files.
        case: From the step that reads it.
        result: From the step that detects.
        error: Why a step failed; later steps are skipped.
        settings: What its result depends on, as it was before its files were
            read: a file that is replaced later is another scan.
    """

    scan: ScanInput
    names: PrivateNames
    files: ExitStack
    case: InferenceCase | None = None
    result: SeriesResult | None = None
    error: Exception | None = None
    settings: dict[str, Any] = field(default_factory=dict)


class ScanSteps:
    """The three steps from a scan to its folder of results.

    An error becomes the outcome of its scan; only a full disk, which concerns
    every scan, is raised.

    Args:
        inferencer: Has the detector.
        out: Folder of the results.
        options: How scans are read and written.
    """

    def __init__(
        self, inferencer: NoduleInferencer, out: Path, options: InferOptions
    ) -> None:
        self.inferencer = inferencer
        self.out = out
        self.options = options

    def settings(self) -> dict[str, Any]:
        """What every result depends on besides its scan, as JSON values."""
        info = self.inferencer.info
        return {
            'weights_sha256': info.weights_sha256,
            'config_sha256': info.config_sha256,
            'selection': asdict(self.inferencer.selection),
            # as asked for: auto may choose differently at another start
            'precision': self.inferencer.wanted_precision,
            'backend': self.inferencer.backend,
            'hu_offset': self.options.hu_offset,
            'formats': sorted(self.options.formats),
        }

    def settings_of(self, scan: ScanInput) -> dict[str, Any]:
        """What the result of one scan depends on, as JSON values.

        Raises:
            OSError: A file of it cannot be read.
        """
        return {
            **self.settings(),
            'scan': scan.fingerprint(),
            'lung_mask': fingerprint(scan.lung_mask, whole=True),
        }

    def folder(self, scan: ScanInput) -> Path:
        """Folder of a scan's results."""
        return self.out / safe_name(scan.uid)

    def read(
        self,
        scan: ScanInput,
        scratch: Path,
        stopped: Callable[[], bool] = lambda: False,
    ) -> ScanInWork:
        """Read a scan and prepare its case, without the detector or its
        device.

        Args:
            scan: Where it lies.
            scratch: Folder for what is unpacked or fetched.
            stopped: Whether to give up fetching.

        Raises:
            OSError: The disk is full.
        """
        files = ExitStack()
        work = ScanInWork(scan, _names_of(scan), files)
        try:
            if scan.defect is not None:
                raise _KnownDefect(scan.defect)
            work = replace(work, settings=self.settings_of(scan))
            started = time.perf_counter()
            path = files.enter_context(scan.opened(scratch, stopped))
            work = replace(work, names=_names_of(scan, path))
            volume = self._load(scan, path)
            seconds = {'read': time.perf_counter() - started}
            case = self.inferencer.prepare(
                volume, scan.lung_mask, seconds=seconds
            )
        except Exception as error:  # any error of this scan
            _raise_if_full(error)
            return replace(work, error=error)
        return replace(work, case=case)

    def _load(self, scan: ScanInput, path: Path) -> Volume:
        """The volume of a scan, which every format can hold."""
        volume = load_volume(
            path,
            series_uid=scan.series_uid,
            hu_offset=self.options.hu_offset,
            files=scan.files_in(path),
        )
        check_source(self.options.formats, scan.uid, volume.slices)
        return replace(
            volume,
            series_uid=scan.uid,
            caveats=[*volume.caveats, *scan.caveats],
        )

    def detect(
        self, work: ScanInWork, on_windows: OnWindows | None = None
    ) -> ScanInWork:
        """Run the detector on a scan that could be read.

        Args:
            work: As returned by ``read``.
            on_windows: Called with (done, all) after each batch of windows.

        Returns:
            The same with the result, or the error.
        """
        if work.case is None:
            return work
        try:
            result = self.inferencer.detect(work.case, on_windows)
        except Exception as error:  # such as out of memory
            return replace(work, error=error)
        return replace(work, result=result)

    def finish(self, work: ScanInWork) -> ScanOutcome:
        """Write a result and its record, or only state why there is none.

        Raises:
            OSError: The disk is full.
        """
        with work.files:
            if work.result is None or work.case is None:
                return self._failed(work, work.error)
            try:
                return self._write(work, work.case, work.result)
            except Exception as error:
                _raise_if_full(error)
                return self._failed(work, error)

    def _failed(
        self, work: ScanInWork, error: Exception | None
    ) -> ScanOutcome:
        scan = work.scan
        return ScanOutcome(
            series_uid=scan.uid,
            folder=safe_name(scan.uid),
            state='failed',
            reason=self._without_phi(
                _reason(error, keep_phi=self.options.keep_phi), work
            ),
            path=scan.location if self.options.keep_phi else None,
            error=error,
        )

    def _write(
        self, work: ScanInWork, case: InferenceCase, result: SeriesResult
    ) -> ScanOutcome:
        scan, folder = work.scan, self.folder(work.scan)
        make_folder(folder)
        remove_leftovers(folder)
        InferenceRecord.remove(folder)
        result = replace(
            result,
            caveats=[self._without_phi(c, work) for c in result.caveats],
            source=None if scan.address is None else str(scan.address),
        )
        result = export_result(
            folder, result, self.options.formats, image=case.arrays['image']
        )
        record = InferenceRecord(
            series_uid=scan.uid,
            detections=len(result.detections),
            best_score=max((d.score for d in result.detections), default=None),
            caveats=tuple(result.caveats),
            seconds=result.run.seconds if result.run else {},
            settings=work.settings,
            path=scan.location if self.options.keep_phi else None,
            patient_id=(
                case.record.patient_id if self.options.keep_phi else None
            ),
            precision=None if result.run is None else result.run.precision,
        )
        record.write(folder)
        return self.stored(scan, record, 'done')

    def stored(
        self, scan: ScanInput, record: InferenceRecord, state: str
    ) -> ScanOutcome:
        """The outcome of a scan with a complete result, stored if asked for.

        Args:
            scan: Where it lies.
            record: Record of the scan.
            state: State of the outcome if everything was stored.
        """
        if not self.options.store or scan.address is None:
            return record.outcome(state)
        return store_results(self.folder(scan), record, scan.address, state)

    def _without_phi(self, text: str, work: ScanInWork) -> str:
        """A message with the scan's name in place of paths."""
        return text if self.options.keep_phi else work.names.hidden(text)


def _names_of(scan: ScanInput, *opened: Path) -> PrivateNames:
    """Names of a scan, and of its files where they were unpacked or
    fetched."""
    known = () if scan.path is None else (scan.inner_path, scan.path)
    return PrivateNames(scan.uid, *opened, *known, lung_mask=scan.lung_mask)


class _KnownDefect(LungdetError):
    """A defect that was known when the inputs were listed."""


def _raise_if_full(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        raise error


def _reason(error: Exception | None, *, keep_phi: bool) -> str:
    """An error in one line."""
    if isinstance(error, LungdetError | OSError):
        return explain(error)
    kind = type(error).__name__
    if isinstance(error, QUOTING) and not keep_phi:
        return f'{kind} in a library; --debug or --keep-phi shows its text'
    return ' '.join(f'{kind}: {error}'.split())
