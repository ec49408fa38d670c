"""Many scans to cases: restartable, and failures stay separate."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile

from tqdm import tqdm

from lungdet.errors import GeometryError, LungdetError
from lungdet.io.case_store import (
    delete_index,
    delete_record,
    read_record,
    rebuild_index,
    record_files,
    stored_settings,
)
from lungdet.io.processes import processes
from lungdet.prepare.scan import prepare_scan
from lungdet.prepare.summary import Summary
from lungdet.prepare.table_check import check_positions
from lungdet.prepare.task import ScanTask, case_settings
from lungdet.structures import CaseRecord

KILLED = (
    'its process was killed, perhaps for want of memory; run again on a '
    'machine with more'
)


def prepare_scans(
    tasks: Sequence[ScanTask],
    out: str | Path,
    *,
    jobs: int = 1,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare scans that are not prepared yet, then rebuild the index.

    Args:
        tasks: The scans.
        out: Folder of the case store.
        jobs: Processes.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        GeometryError: A spacing that is not positive, or differs from that of
            other cases in the folder.
        SeriesError: The file of such a case is damaged.
        AnnotationError: Rows of a table that fit the voxels in another frame.
        OSError: ``out`` cannot be written to.
    """
    out = Path(out)
    uids = {task.uid for task in tasks}
    _check_writable(out)
    _check_spacing(out, spacing_mm, uids)
    todo = [task for task in tasks if not _is_done(task, out, spacing_mm)]
    doubts = check_positions(todo)
    if todo:  # a run that is killed leaves no index of cases it changed
        delete_index(out)
    failed = {}
    attempts = attempt_scans(todo, out, spacing_mm, jobs)
    bar = tqdm(total=len(todo), desc='prepare', disable=not progress)
    with closing(attempts), closing(bar):
        for uid, reason in attempts:
            bar.update()
            if reason is not None:
                failed[uid] = reason
    records = rebuild_index(out)
    return Summary(
        records,
        failed,
        skipped=len(tasks) - len(todo),
        caveats=[*doubts, *_other_cases(records, uids, out)],
    )


def attempt_scans(
    tasks: Sequence[ScanTask], out: Path, spacing_mm: float, jobs: int
) -> Generator[tuple[str, str | None], None, None]:
    """Try each scan, in parallel if ``jobs`` is above one.

    Yields:
        Uid, and the reason if the scan could not be prepared.
    """
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task.uid, attempt(task, out, spacing_mm)
        return
    broken = []
    with processes(jobs) as pool:
        waiting = {
            pool.submit(attempt, task, out, spacing_mm): task for task in tasks
        }
        for future in as_completed(waiting):
            try:
                yield waiting[future].uid, future.result()
            except BrokenProcessPool:
                broken.append(waiting[future])
    for task in broken:  # one by one: a killed process breaks the whole pool
        yield task.uid, _attempt_alone(task, out, spacing_mm)


def _attempt_alone(task: ScanTask, out: Path, spacing_mm: float) -> str | None:
    """``attempt`` in a separate process, which may be killed."""
    with processes(1) as pool:
        try:
            return pool.submit(attempt, task, out, spacing_mm).result()
        except BrokenProcessPool:
            return KILLED


def attempt(task: ScanTask, out: Path, spacing_mm: float) -> str | None:
    """Prepare one scan; the reason as text if it cannot be.

    A scan that fails leaves no case of earlier settings behind.
    """
    try:
        prepare_scan(task, out, spacing_mm)
    except Exception as error:  # the other scans must go on
        delete_record(out, task.uid)
        if isinstance(error, (LungdetError, OSError)):
            return str(error)
        return f'{task.source.path}: {type(error).__name__}: {error}'
    return None


def _is_done(task: ScanTask, out: Path, spacing_mm: float) -> bool:
    stored = stored_settings(out, task.uid)
    if stored is None:
        return False
    try:
        return stored == case_settings(task, spacing_mm)
    except (ValueError, OSError):  # reported when the scan is read
        return False


def _check_writable(out: Path) -> None:
    """Fail before the first scan is read, not after."""
    try:
        (out / 'cases').mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out / 'cases'):
            pass
    except OSError as error:
        raise OSError(
            f'{out}: cannot be written to ({error.strerror}); give another '
            'folder for the cases.'
        ) from error


def _check_spacing(
    out: Path, spacing_mm: float, uids: Collection[str]
) -> None:
    if not spacing_mm > 0:
        raise GeometryError(
            f'spacing: {spacing_mm} mm; give a number above 0.'
        )
    for path in record_files(out):
        if path.stem in uids:
            continue
        stored_mm = read_record(path).spacing_mm
        if stored_mm != spacing_mm:
            raise GeometryError(
                f'{path}: a case of {stored_mm} mm that is not '
                f'of these scans; one folder holds one spacing, and this run '
                f'makes {spacing_mm} mm. Give another folder.'
            )


def _other_cases(
    records: Sequence[CaseRecord], uids: Collection[str], out: Path
) -> list[str]:
    """A caveat if the folder has cases of other scans."""
    others = [r.series_uid for r in records if r.series_uid not in uids]
    if not others:
        return []
    return [
        f'{len(others)} cases in {out} are not of these scans, such as '
        f'{others[0]}'
    ]
