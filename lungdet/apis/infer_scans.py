"""Many scans to results: one read ahead, one written behind, restartable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lungdet.apis.inference_record import (
    InferenceRecord,
    InferenceReport,
    ScanOutcome,
    read_inference_record,
)
from lungdet.apis.inferencer import InferenceCase, NoduleInferencer
from lungdet.apis.scan_inputs import ScanInput
from lungdet.errors import NO_SPACE, ConfigError, LungdetError, explain
from lungdet.exporters import DEFAULT_FORMATS, check_source, export_result
from lungdet.io.atomic import (
    check_writable,
    make_folder,
    remove_leftovers,
    scratch_folder,
)
from lungdet.io.files import safe_name
from lungdet.io.image import load_volume
from lungdet.prepare.fingerprint import fingerprint
from lungdet.structures import SeriesResult


@dataclass(frozen=True)
class InferOptions:
    """How the scans of a run are read and written.

    Attributes:
        formats: Names of ``lungdet.exporters.EXPORTERS``.
        hu_offset: Added to values that were stored without their offset.
        overwrite: Replace results that are there; else they are kept.
        keep_phi: Keep paths, which may name patients, in messages, records
            and reports.
    """

    formats: Sequence[str] = DEFAULT_FORMATS
    hu_offset: int | None = None
    overwrite: bool = False
    keep_phi: bool = False


@dataclass(eq=False)
class _Loaded:
    """A scan that was read, or why it was not; its files stay until closed."""

    scan: ScanInput
    files: ExitStack = field(default_factory=ExitStack)
    paths: tuple[Path, ...] = ()
    case: InferenceCase | None = None
    error: Exception | None = None


class ScanRun:
    """Run a detector on scans, each to a folder of its name.

    While the network works on one scan, the next one is read and prepared,
    and the last one is written; so no more than three are in memory. A scan
    that fails is recorded, and the others go on. A scan is done when its
    ``inference.json`` is there, written last; a run that was killed continues
    with the others.

    Args:
        inferencer: Of the detector.
        scans: Of ``find_scans``.
        out: Folder of the results.
        options: How they are read and written.
        on_scan: Called with each outcome, in the order of the scans.
        on_windows: Called with (done, all) after each batch of windows of the
            scan that the network works on.
    """

    def __init__(
        self,
        inferencer: NoduleInferencer,
        scans: Sequence[ScanInput],
        out: str | Path,
        options: InferOptions = InferOptions(),
        *,
        on_scan: Callable[[ScanOutcome], None] = lambda outcome: None,
        on_windows: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.inferencer = inferencer
        self.scans = scans
        self.out = Path(out)
        self.options = options
        self.on_scan = on_scan
        self.on_windows = on_windows
        self.outcomes: list[ScanOutcome] = []
        self.stopped: str | None = None
        self.seconds = 0.0
        self._writing: Future[ScanOutcome] | None = None

    def run(self) -> None:
        """Work through the scans; a full disk ends the run.

        Raises:
            ConfigError: A scan's folder holds a result that was made
                differently, and nothing may be overwritten.
            OSError: ``out`` cannot be written to.
        """
        started = time.perf_counter()
        check_writable(self.out, 'the results')
        todo = self._without_done()
        try:
            with (
                scratch_folder(self.out) as scratch,
                ThreadPoolExecutor(1) as reader,
                ThreadPoolExecutor(1) as writer,
            ):
                for loaded in self._read_ahead(todo, scratch, reader):
                    self._detect(loaded, writer)
                self._flush()
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self.stopped = explain(error)
        except KeyboardInterrupt:
            self.stopped = 'interrupted'
            raise
        finally:
            self.seconds = time.perf_counter() - started

    def report(self) -> InferenceReport:
        """What the run did, so far."""
        return InferenceReport(
            model=self.inferencer.info,
            device=self.inferencer.device,
            precision=self.inferencer.precision,
            settings=self.settings(),
            outcomes=tuple(self.outcomes),
            untried=len(self.scans) - len(self.outcomes),
            stopped=self.stopped,
            seconds=self.seconds,
        )

    def settings(self) -> dict[str, Any]:
        """What every result depends on besides its scan, as JSON values."""
        info = self.inferencer.info
        return {
            'weights_sha256': info.weights_sha256,
            'config_sha256': info.config_sha256,
            'selection': asdict(self.inferencer.selection),
            # as asked for: what auto takes may differ between two starts
            'precision': self.inferencer.wanted_precision,
            'hu_offset': self.options.hu_offset,
            'formats': sorted(self.options.formats),
        }

    def _settings_of(self, scan: ScanInput) -> dict[str, Any]:
        return {
            **self.settings(),
            'scan': fingerprint(scan.path),
            'lung_mask': fingerprint(scan.lung_mask),
        }

    def _folder(self, scan: ScanInput) -> Path:
        return self.out / safe_name(scan.uid)

    def _without_done(self) -> list[ScanInput]:
        """Scans to work on; those that are done get their outcome."""
        if self.options.overwrite:
            return list(self.scans)
        todo, done = [], []
        for scan in self.scans:
            record = read_inference_record(self._folder(scan))
            if record is None:
                todo.append(scan)
                continue
            if names := record.differences(self._settings_of(scan)):
                raise ConfigError(
                    f'{self._folder(scan)}: holds a result of another '
                    f'{", ".join(names)}; give another folder by --out, or '
                    'replace it by --overwrite.'
                )
            done.append(record.outcome('skipped'))
        for outcome in done:
            self._tell(outcome)
        return todo

    def _read_ahead(
        self,
        scans: Sequence[ScanInput],
        scratch: Path,
        reader: ThreadPoolExecutor,
    ) -> Iterator[_Loaded]:
        """Scans in order, the next one being read while one is worked on."""
        waiting: Future[_Loaded] | None = None
        for scan in [*scans, None]:
            ready = waiting and waiting.result()
            if scan is not None:
                waiting = reader.submit(self._load, scan, scratch)
            if ready:
                yield ready

    def _load(self, scan: ScanInput, scratch: Path) -> _Loaded:
        loaded = _Loaded(scan, paths=(scan.path,))
        try:
            if scan.defect is not None:
                raise _KnownDefect(scan.defect)
            started = time.perf_counter()
            path = loaded.files.enter_context(scan.opened(scratch))
            loaded.paths = (path, scan.path)
            volume = load_volume(
                path,
                series_uid=scan.series_uid,
                hu_offset=self.options.hu_offset,
            )
            volume = replace(
                volume,
                series_uid=scan.uid,
                caveats=[*volume.caveats, *scan.caveats],
            )
            check_source(self.options.formats, scan.uid, volume.slices)
            read = time.perf_counter() - started
            loaded.case = self.inferencer.prepare(
                volume, scan.lung_mask, seconds={'read': read}
            )
        except Exception as error:  # of the scan, whatever it is
            loaded.error = error
        return loaded

    def _detect(self, loaded: _Loaded, writer: ThreadPoolExecutor) -> None:
        """Run the network, and let the result be written."""
        result = None
        if loaded.case is not None:
            try:
                result = self.inferencer.detect(loaded.case, self.on_windows)
            except Exception as error:  # such as too little memory
                loaded.error = error
        self._flush()
        self._writing = writer.submit(self._finish, loaded, result)

    def _flush(self) -> None:
        """Wait for the outcome of the scan that is being written.

        Not while the network works: an error of the writer, such as a full
        disk, would be taken for one of the network's scan.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._tell(writing.result())

    def _tell(self, outcome: ScanOutcome) -> None:
        self.outcomes.append(outcome)
        self.on_scan(outcome)

    def _finish(
        self, loaded: _Loaded, result: SeriesResult | None
    ) -> ScanOutcome:
        """Write a result and its record; or only say why there is none."""
        try:
            if result is not None and loaded.case is not None:
                return self._write(loaded, loaded.case, result)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            loaded.error = error
        except Exception as error:
            loaded.error = error
        finally:
            loaded.files.close()
        scan = loaded.scan
        return ScanOutcome(
            series_uid=scan.uid,
            folder=safe_name(scan.uid),
            state='failed',
            reason=self._without_phi(_reason(loaded.error), loaded),
            path=str(scan.path) if self.options.keep_phi else None,
            error=loaded.error,
        )

    def _write(
        self, loaded: _Loaded, case: InferenceCase, result: SeriesResult
    ) -> ScanOutcome:
        started = time.perf_counter()
        scan, folder = loaded.scan, self._folder(loaded.scan)
        make_folder(folder)
        remove_leftovers(folder)
        InferenceRecord.remove(folder)
        result = replace(
            result,
            caveats=[self._without_phi(c, loaded) for c in result.caveats],
        )
        result = export_result(
            folder, result, self.options.formats, image=case.arrays['image']
        )
        seconds = dict(result.run.seconds) if result.run else {}
        seconds['write'] = round(time.perf_counter() - started, 3)
        record = InferenceRecord(
            series_uid=scan.uid,
            detections=len(result.detections),
            best_score=max((d.score for d in result.detections), default=None),
            caveats=tuple(result.caveats),
            seconds=seconds,
            settings=self._settings_of(scan),
            path=str(scan.path) if self.options.keep_phi else None,
            patient_id=(
                case.record.patient_id if self.options.keep_phi else None
            ),
        )
        record.write(folder)
        return record.outcome('done')

    def _without_phi(self, text: str, loaded: _Loaded) -> str:
        """A message with the scan's name in place of paths."""
        if self.options.keep_phi:
            return text
        scan = loaded.scan
        for path in loaded.paths:
            text = text.replace(str(path), scan.uid)
        folders = [path.parent for path in loaded.paths]
        if scan.lung_mask is not None:
            folders.append(scan.lung_mask.parent)
        for folder in folders:
            if folder != folder.parent and str(folder) != '.':
                text = text.replace(f'{folder}{os.sep}', '')
        return text


class _KnownDefect(LungdetError):
    """Of a scan that could not be read when the inputs were listed."""


def _reason(error: Exception | None) -> str:
    """An error in one line."""
    if isinstance(error, LungdetError | OSError):
        return explain(error)
    return ' '.join(f'{type(error).__name__}: {error}'.split())
