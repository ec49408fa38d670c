"""Limits of the service, and refusals of requests that exceed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from http import HTTPStatus

from lungdet.errors import ConfigError, LungdetError

MB, GB = 1_000_000, 1_000_000_000
HOUR = 3600.0


@dataclass(frozen=True)
class Limits:
    """Limits of jobs.

    Attributes:
        upload_bytes: Largest size of an upload.
        upload_seconds: Longest duration of an upload.
        waiting_jobs: Largest number of jobs that are queued, running or being
            uploaded.
        job_seconds: Longest duration of a job.
        memory_bytes: Largest memory of the worker's data; None for no limit.
        disk_bytes: Disk space of all scans and results together.
        free_bytes: Space to leave free on the disk.
        keep_seconds: Time from the end of a job until it is deleted.
        starts: Largest number of starts of a job, if the server is killed
            while it runs.

    Raises:
        ConfigError: A limit is not above 0.
    """

    upload_bytes: int = GB
    upload_seconds: float = 600.0
    waiting_jobs: int = 100
    job_seconds: float = 1800.0
    memory_bytes: int | None = None
    disk_bytes: int = 20 * GB
    free_bytes: int = GB
    keep_seconds: float = 24 * HOUR
    starts: int = 3

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not value > 0:
                raise ConfigError(
                    f'limits: {one.name} is {value:g}; give a number above 0.'
                )


class Refusal(LungdetError):
    """Refusal of a request, sent to the client.

    Args:
        status: HTTP status, 4xx or 5xx.
        text: Reason and remedy, in one sentence.
        headers: Additional headers of the response.
    """

    def __init__(
        self,
        status: HTTPStatus,
        text: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})


def in_units(size: float) -> str:
    """A size as text, in a suitable unit.

    Args:
        size: Size in bytes.

    Examples:
        >>> in_units(1_500_000_000), in_units(20_000_000), in_units(500)
        ('1.5 GB', '20 MB', '500 bytes')
    """
    for unit, name in ((GB, 'GB'), (MB, 'MB'), (1000, 'kB')):
        if size >= unit:
            return f'{size / unit:.3g} {name}'
    return f'{size:g} bytes'
