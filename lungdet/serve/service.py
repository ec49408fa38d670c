"""The state behind the routes: jobs, worker, and metrics of both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import lungdet
from lungdet.serve.jobs import DONE, FAILED, QUEUED, RUNNING, Job
from lungdet.serve.metrics import Counts, family
from lungdet.serve.storage import JobStorage
from lungdet.serve.supervisor import JobProgress, Supervisor


@dataclass(frozen=True, eq=False)
class Service:
    """A server's parts.

    Attributes:
        storage: The jobs and their files.
        supervisor: Runs them.
        counts: Counts of requests.
        tell: Called with a line about each event; ids and numbers only.
    """

    storage: JobStorage
    supervisor: Supervisor
    counts: Counts = field(default_factory=Counts)
    tell: Callable[[str], None] = lambda text: None

    def taken(self, job: Job) -> None:
        """Record that a scan was received completely."""
        self.counts.receive(job.size)
        self.tell(f'job {job.id} queued, {job.size} bytes')
        self.supervisor.wake()

    def view(self, job: Job) -> dict[str, Any]:
        """A job for clients, as JSON values.

        Args:
            job: A job of the storage.
        """
        address = f'/v1/jobs/{job.id}'
        progress = self._progress(job)
        return {
            'id': job.id,
            'state': job.state,
            'created': _time(job.created),
            'started': _time(job.started),
            'ended': _time(job.ended),
            'starts': job.starts,
            'ahead': self.storage.jobs.ahead(job)
            if job.state == QUEUED
            else None,
            'windows_done': progress and progress.done,
            'windows_total': progress and progress.total,
            'seconds_left': self._seconds_left(job, progress),
            'error': job.error,
            'detections': job.detections,
            'results': {
                name: f'{address}/results/{name}' for name in job.files
            },
        }

    def _progress(self, job: Job) -> JobProgress | None:
        """Progress of a job; None for one that does not run."""
        progress = self.supervisor.progress
        if progress is None or progress.job_id != job.id:
            return None
        return progress if job.state == RUNNING else None

    def _seconds_left(
        self, job: Job, progress: JobProgress | None
    ) -> float | None:
        """An estimate, from the windows of this job or the last jobs."""
        if progress is not None:
            left = progress.seconds_left()
            return None if left is None else round(left, 1)
        each = self.storage.jobs.mean_seconds()
        if job.state == QUEUED and each is not None:
            return round(each * (self.storage.jobs.ahead(job) + 1), 1)
        return None

    def health(self) -> dict[str, Any]:
        """Whether jobs can be run."""
        defect = self.supervisor.defect
        return {
            'status': 'ok' if defect is None else 'failed',
            'defect': defect,
            'model': self.supervisor.model,
            'version': lungdet.__version__,
        }

    def metrics(self) -> str:
        """The metrics in the text format of Prometheus."""
        storage, counts = self.storage, self.counts
        info = {
            'version': lungdet.__version__,
            'model': self.supervisor.model or '',
        }
        families = [
            family('info', 'gauge', 'Version and model.', [(info, 1)]),
            family(
                'jobs',
                'gauge',
                'Jobs that are kept, by state.',
                [({'state': s}, n) for s, n in storage.jobs.counts().items()],
            ),
            family(
                *('ended_jobs_total', 'counter'),
                'Jobs that ended since the server started.',
                [
                    ({'state': state}, self.supervisor.ended[state])
                    for state in (DONE, FAILED)
                ],
            ),
            family(
                *('job_seconds_total', 'counter', 'Time of work on jobs.'),
                [({}, self.supervisor.seconds)],
            ),
            family(
                *('scans_received_total', 'counter', 'Scans taken.'),
                [({}, counts.received)],
            ),
            family(
                *('scans_received_bytes_total', 'counter', 'Their bytes.'),
                [({}, counts.received_bytes)],
            ),
            family(
                *('refused_requests_total', 'counter', 'Refusals by status.'),
                [
                    ({'status': f'{status}'}, number)
                    for status, number in sorted(counts.refused.items())
                ],
            ),
            family(
                *('stored_bytes', 'gauge', 'Scans and results.'),
                [({}, storage.size())],
            ),
            family(
                *('free_bytes', 'gauge', 'Free on the disk.'),
                [({}, shutil.disk_usage(storage.root).free)],
            ),
            family(
                *('lost_workers_total', 'counter', 'Workers that ended.'),
                [({}, self.supervisor.lost)],
            ),
        ]
        return '\n'.join(families) + '\n'


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec='milliseconds')
