"""Files of jobs: folders, disk limits and deletion.

::

    FOLDER/jobs.sqlite
    FOLDER/jobs/ID/scan.nii.gz     until the job has ended
    FOLDER/jobs/ID/start-1/        while the job is running
    FOLDER/jobs/ID/result/         once the job is done
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from threading import RLock

from lungdet.errors import ConfigError
from lungdet.io.atomic import check_writable, make_folder
from lungdet.serve.jobs import DONE, QUEUED, RUNNING, Job, JobTable
from lungdet.serve.limits import Limits, Refusal, in_units

FRESH_SECONDS = 600.0  # a result younger than this is not deleted for space
RETRY_SECONDS = 30  # Retry-After while the duration of jobs is unknown


@dataclass(eq=False)
class Reservation:
    """Disk space reserved for a scan that is being uploaded.

    Attributes:
        job_id: Id of its job.
        size: Reserved bytes.
        folder: Folder of its job.
    """

    job_id: str
    size: int
    folder: Path


class JobStorage:
    """The jobs of a server and their files.

    Args:
        root: Folder of the server.
        limits: Limits of jobs.

    Raises:
        ConfigError: As in ``JobTable``.
        OSError: The folder cannot be written to.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root = check_writable(root, 'the jobs').resolve()
        self.limits = limits
        self._check_table()
        self.jobs = JobTable(self.root / 'jobs.sqlite')
        self._lock = RLock()
        self._coming: set[Reservation] = set()
        for job in self.jobs.resume(limits.starts):
            self.drop_scan(job.id)
        self._remove_strays()

    def _check_table(self) -> None:
        """Refuse jobs without a table: they would be deleted as strays."""
        table = self.root / 'jobs.sqlite'
        files = [table, table.with_name('jobs.sqlite-wal')]
        is_gone = not any(f.exists() and f.stat().st_size for f in files)
        if is_gone and any((self.root / 'jobs').glob('*/*')):
            raise ConfigError(
                f'{table}: is missing or empty, but there are scans or '
                f'results in {self.root / "jobs"}, which would be deleted; '
                'restore it, or choose another folder.'
            )

    def close(self) -> None:
        """Close the job table, which unlocks the folder."""
        self.jobs.close()

    def folder(self, job_id: str) -> Path:
        """Folder of a job; its id must be valid."""
        return self.root / 'jobs' / job_id

    def scan(self, job: Job) -> Path:
        """The uploaded file of a job."""
        return self.folder(job.id) / f'scan{job.suffix}'

    def work_folder(self, job: Job) -> Path:
        """Folder for temporary files of a running job.

        Each start has its own, since the worker of a killed server may live a
        moment longer than the server.
        """
        return self.folder(job.id) / f'start-{job.starts}'

    def result(self, job_id: str) -> Path:
        """Folder of a job's result."""
        return self.folder(job_id) / 'result'

    @contextmanager
    def reserved(self, size: int) -> Iterator[Reservation]:
        """Reserve space for an upload of at most ``size`` bytes.

        When the block ends without ``accept``, the files are deleted.

        Raises:
            Refusal: 413: too large; 429: too many jobs; 507: not enough disk
                space.
        """
        with self._lock:
            self._check_size(size)
            self._check_queue()
            self._make_room(size)
            job_id = uuid.uuid4().hex
            kept = Reservation(job_id, size, self.folder(job_id))
            self._coming.add(kept)
        try:
            make_folder(kept.folder)
            yield kept
        finally:
            with self._lock:
                if kept in self._coming:
                    self._coming.remove(kept)
                    shutil.rmtree(kept.folder, ignore_errors=True)

    def accept(self, kept: Reservation, suffix: str, size: int) -> Job:
        """Add the job of a scan that was uploaded completely.

        Args:
            kept: Reservation of the upload, which is released.
            suffix: Suffix of the file.
            size: Size of the file in bytes.
        """
        with self._lock:
            job = self.jobs.add(kept.job_id, suffix, size)
            self._coming.remove(kept)
        return job

    def finish(
        self, job: Job, *, detections: int, files: dict[str, list[str]]
    ) -> None:
        """Mark a job as done, and delete all its files but the result."""
        folder = self.result(job.id)
        size = sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
        self.jobs.finish(job, detections=detections, files=files, size=size)
        self.drop_scan(job.id)

    def fail(self, job: Job, error: str) -> None:
        """Mark a job as failed, and delete its files."""
        self.jobs.fail(job, error)
        self.drop_scan(job.id)
        _delete(self.result(job.id))

    def drop_scan(self, job_id: str) -> None:
        """Delete the scan and the temporary files of a job."""
        for path in self.folder(job_id).glob('*'):
            if path != self.result(job_id):
                _delete(path)

    def remove(self, job_id: str) -> None:
        """Delete a job and all its files."""
        self.jobs.remove(job_id)
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def expire(self) -> list[Job]:
        """Delete expired jobs, and return them."""
        expired = self.jobs.ended(time.time() - self.limits.keep_seconds)
        for job in expired:
            self.remove(job.id)
        return expired

    def size(self) -> int:
        """Bytes used or reserved."""
        with self._lock:
            return self.jobs.size() + sum(one.size for one in self._coming)

    def _check_size(self, size: int) -> None:
        if size > self.limits.upload_bytes:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f'the scan has {in_units(size)}; the limit is '
                f'{in_units(self.limits.upload_bytes)}. Send a single series, '
                'compressed.',
            )

    def _check_queue(self) -> None:
        counts = self.jobs.counts()
        waiting = counts[QUEUED] + counts[RUNNING] + len(self._coming)
        if waiting < self.limits.waiting_jobs:
            return
        seconds = self.jobs.mean_seconds() or RETRY_SECONDS
        raise Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            f'{waiting} jobs are waiting, which is the limit; send the scan '
            f'again in {max(1, round(seconds))} seconds.',
            {'Retry-After': f'{max(1, round(seconds))}'},
        )

    def _make_room(self, size: int) -> None:
        """Delete the oldest results until there is enough disk space.

        Raises:
            Refusal: There is not enough, even without all results that may be
                deleted.
        """
        for job in self.jobs.ended(time.time() - FRESH_SECONDS):
            if self._has_room(size):
                return
            if job.state == DONE:
                self.remove(job.id)
        if not self._has_room(size):
            raise Refusal(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f'not enough disk space for {in_units(size)} beside the '
                'stored scans and results; delete jobs, or send the scan '
                'again later.',
            )

    def _has_room(self, size: int) -> bool:
        coming = sum(one.size for one in self._coming)
        free = shutil.disk_usage(self.root).free - coming - size
        return (
            self.jobs.size() + coming + size <= self.limits.disk_bytes
            and free >= self.limits.free_bytes
        )

    def _remove_strays(self) -> None:
        """Delete what a server that was killed has left: incomplete uploads,
        and results of jobs that it did not note as done."""
        for path in (self.root / 'jobs').glob('*'):
            job = self.jobs.get(path.name)
            if job is None:
                _delete(path)
            elif job.state != DONE:
                _delete(self.result(job.id))


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
