"""Preparing many scans: restartable, and one failure does not stop the
others."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lungdet.errors import (
    NO_SPACE,
    GeometryError,
    LungdetError,
    SeriesError,
    explain,
)
from lungdet.io.atomic import check_writable, remove_leftovers
from lungdet.io.case_store import (
    read_record,
    record_files,
    stored_settings,
    write_index,
)
from lungdet.io.limits import SPACING_MM
from lungdet.io.processes import processes
from lungdet.io.ray_cluster import RayOptions
from lungdet.prepare.on_ray import attempt_on_ray
from lungdet.prepare.scan import prepare_scan
from lungdet.prepare.summary import Summary
from lungdet.prepare.table_check import check_positions
from lungdet.prepare.task import ScanTask, case_settings
from lungdet.structures import CaseRecord

Attempts = Generator[tuple[str, str | None], None, None]
KILLED = (
    'its process was killed or crashed: perhaps memory ran out, or its file '
    'crashes a library that reads it. Run again with fewer --jobs; if '
    'that does not help, write the scan again with another program, or '
    'leave it out.'
)


def prepare_scans(
    tasks: Sequence[ScanTask],
    out: str | Path,
    *,
    jobs: int | RayOptions = 0,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare scans that are not prepared yet, then rebuild the index.

    A case of earlier settings is deleted only once its new one is written. If
    the disk is full, the run ends with a summary of what is done.

    Args:
        tasks: The scans.
        out: Folder of the case store.
        jobs: Processes; with 0, scans are prepared in this process, and a
            library that crashes on a damaged scan ends the whole run. Or a
            Ray cluster, which prepares them.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        ConfigError: No usable cluster.
        GeometryError: A spacing that no scan has, or that differs from that of
            other cases in the folder.
        SeriesError: The file of another case is damaged.
        AnnotationError: Rows of a table that fit the voxels in another frame.
        OSError: ``out`` cannot be written to.
    """
    out = Path(out)
    uids = {task.uid for task in tasks}
    check_writable(out, 'the cases')
    check_writable(out / 'cases', 'the cases')
    _check_spacing(out, spacing_mm, uids)
    todo = [task for task in tasks if not _is_done(task, out, spacing_mm)]
    doubts = check_positions(todo)
    attempts = attempt_scans(todo, out, spacing_mm, jobs)
    tried, stopped = _collect(attempts, len(todo), progress)
    remove_leftovers(out / 'cases')  # of processes that were stopped
    standing = uids - {task.uid for task in todo}
    standing |= {uid for uid, reason in tried.items() if reason is None}
    records, caveats = _valid_records(out, uids, standing)
    try:
        write_index(out, records)
    except OSError as error:
        stopped = stopped or explain(error)
    return Summary(
        records,
        {uid: reason for uid, reason in tried.items() if reason is not None},
        skipped=len(tasks) - len(todo),
        prepared=sum(reason is None for reason in tried.values()),
        untried=len(todo) - len(tried),
        stopped=stopped,
        caveats=[*doubts, *_other_cases(records, uids, out), *caveats],
    )


def _collect(
    attempts: Attempts, total: int, progress: bool
) -> tuple[dict[str, str | None], str | None]:
    """Uid -> why it failed, or None; and why the run stopped, or None."""
    tried: dict[str, str | None] = {}
    bar = tqdm(total=total, desc='prepare', disable=not progress)
    try:
        with closing(attempts), closing(bar):
            for uid, reason in attempts:
                bar.update()
                tried[uid] = reason
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        return tried, explain(error)
    return tried, None


def _valid_records(
    out: Path, uids: Collection[str], standing: Collection[str]
) -> tuple[list[CaseRecord], list[str]]:
    """The cases that belong in the index, and a caveat about those left out.

    The older case of a scan that could not be prepared stays on disk. It stays
    in the store only if this run wrote no case at all.

    Args:
        out: Folder of the case store.
        uids: The scans of this run.
        standing: Those of them whose case has the settings of this run.
    """
    older: list[Path] = []
    current: list[Path] = []
    for path in record_files(out):
        is_older = path.stem in uids and path.stem not in standing
        (older if is_older else current).append(path)
    records = [read_record(path) for path in current]
    if not older:
        return records, []
    what = f'{len(older)} cases of earlier settings stay, such as {older[0]}'
    if standing:
        return records, [f'{what}; they are not in the index']
    for path in older:
        with suppress(SeriesError):  # damaged, and its scan too
            records.append(read_record(path))
    return records, [f'{what}, since none could be replaced']


def attempt_scans(
    tasks: Sequence[ScanTask],
    out: Path,
    spacing_mm: float,
    jobs: int | RayOptions,
) -> Attempts:
    """Try each scan on a cluster, in other processes, or here with 0 jobs.

    A process that is killed breaks its pool. The scans that it may have been
    working on are then each tried in a process of their own, the rest in a new
    pool.

    Yields:
        Uid, and the reason if the scan could not be prepared.
    """
    if isinstance(jobs, RayOptions):
        work = partial(attempt, out=out, spacing_mm=spacing_mm)
        yield from attempt_on_ray(tasks, work, out, jobs)
        return
    if not jobs:
        for task in tasks:
            yield task.uid, attempt(task, out, spacing_mm)
        return
    left = list(tasks)
    while left:
        left = yield from _attempt_in_pool(left, out, spacing_mm, jobs)
        # in the order in which processes took them; results may be lost, too
        suspects, left = left[: 2 * jobs], left[2 * jobs :]
        for task in suspects:
            yield task.uid, _attempt_alone(task, out, spacing_mm)


def _attempt_in_pool(
    tasks: Sequence[ScanTask], out: Path, spacing_mm: float, jobs: int
) -> Generator[tuple[str, str | None], None, list[ScanTask]]:
    """Yields as ``attempt_scans``; returns what is left of a broken pool."""
    left = {task.uid: task for task in tasks}
    with processes(min(jobs, len(tasks))) as pool:
        waiting = {}
        with suppress(BrokenProcessPool):  # before all were submitted
            for task in tasks:
                future = pool.submit(attempt, task, out, spacing_mm)
                waiting[future] = task
        for future in as_completed(waiting):
            with suppress(BrokenProcessPool):
                reason = future.result()
                uid = waiting[future].uid
                del left[uid]
                yield uid, reason
    return list(left.values())


def _attempt_alone(task: ScanTask, out: Path, spacing_mm: float) -> str | None:
    """``attempt`` in a separate process, which may be killed."""
    with processes(1) as pool:
        try:
            return pool.submit(attempt, task, out, spacing_mm).result()
        except BrokenProcessPool:
            return KILLED


def attempt(task: ScanTask, out: Path, spacing_mm: float) -> str | None:
    """Prepare one scan; the reason in one line if it cannot be.

    Raises:
        OSError: The disk is full, which ends the run.
    """
    try:
        prepare_scan(task, out, spacing_mm)
    except (LungdetError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        return explain(error)
    except Exception as error:  # the other scans must go on
        return ' '.join(
            f'{task.source.path}: {type(error).__name__}: {error}'.split()
        )
    return None


def _is_done(task: ScanTask, out: Path, spacing_mm: float) -> bool:
    stored = stored_settings(out, task.uid)
    if stored is None:
        return False
    try:
        return stored == case_settings(task, spacing_mm)
    except Exception:  # reported when the scan is read
        return False


def _check_spacing(
    out: Path, spacing_mm: float, uids: Collection[str]
) -> None:
    low, high = SPACING_MM
    if not low <= spacing_mm <= high:
        raise GeometryError(
            f'spacing: {spacing_mm} mm; give a number of mm from {low:g} to '
            f'{high:g}.'
        )
    for path in record_files(out):
        if path.stem in uids:
            continue
        stored_mm = read_record(path).spacing_mm
        if stored_mm != spacing_mm:
            raise GeometryError(
                f'{path}: a case of {stored_mm} mm that is not '
                f'of these scans; one folder holds one spacing, and this run '
                f'makes {spacing_mm} mm. Delete it, or give another folder.'
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
