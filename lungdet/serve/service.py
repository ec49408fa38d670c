"""The state behind the routes: jobs, worker and metrics."""

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
    """What the routes work on.

    Attributes:
        storage: The jobs and their files.
        supervisor: Runs the jobs.
        counts: Counters of requests.
        tell: Called with a log line about each event, which contains only
            ids and numbers.
    """

    storage: JobStorage
    supervisor: Supervisor
    counts: Counts = field(default_factory=Counts)
    tell: Callable[[str], None] = lambda text: None

    def taken(self, job: Job) -> None:
        """Record that a scan was uploaded completely, and start its job."""
        self.counts.receive(job.size)
        self.tell(f'job {job.id} queued, {job.size} bytes')
        self.supervisor.wake()

    def view(self, job: Job) -> dict[str, Any]:
        """A job as sent to clients, in JSON values.

        Args:
            job: A job of ``storage``.
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
        """Progress of a job; None if it is not running."""
        progress = self.supervisor.progress
        if progress is None or progress.job_id != job.id:
            return None
        return progress if job.state == RUNNING else None

    def _seconds_left(
        self, job: Job, progress: JobProgress | None
    ) -> float | None:
        """Estimated time to the end of a job, None if unknown.

        For a running job it is based on the windows done so far, for a queued
        one on the duration of the last jobs.
        """
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
        """The metrics in the Prometheus text format."""
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
                'Stored jobs, by state.',
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
                *('job_seconds_total', 'counter', 'Time spent on jobs.'),
                [({}, self.supervisor.seconds)],
            ),
            family(
                *('scans_received_total', 'counter', 'Accepted scans.'),
                [({}, counts.received)],
            ),
            family(
                *('scans_received_bytes_total', 'counter', 'Their size.'),
                [({}, counts.received_bytes)],
            ),
            family(
                *('refused_requests_total', 'counter', 'Refused requests.'),
                [
                    ({'status': f'{status}'}, number)
                    for status, number in sorted(counts.refused.items())
                ],
            ),
            family(
                *('stored_bytes', 'gauge', 'Size of scans and results.'),
                [({}, storage.size())],
            ),
            family(
                *('free_bytes', 'gauge', 'Free disk space.'),
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
