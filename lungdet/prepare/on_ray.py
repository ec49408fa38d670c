"""Preparation of many scans on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from lungdet.io.ray_cluster import Needs, RayOptions, connected, shared_files
from lungdet.io.ray_workers import Lost, RayWorkers
from lungdet.prepare.task import ScanTask

NEEDS = Needs(cpus=1, memory=2 * 10**9)
LOST = (
    'its worker was killed {tries} times; it may have run out of memory, or '
    'the file crashes a library that reads it. Save the scan again with '
    'another program, or leave it out.'
)
Attempt = Callable[[ScanTask], str | None]


def attempt_on_ray(
    tasks: Sequence[ScanTask], attempt: Attempt, out: Path, ray: RayOptions
) -> Generator[tuple[str, str | None], None, None]:
    """Prepare the scans in the workers of a cluster.

    Args:
        tasks: The scans.
        attempt: Prepares one scan; returns the reason if it fails, else None.
        out: Folder of the case store.
        ray: Which cluster to use, and how much of it.

    Yields:
        The uid of each scan, and the reason if it could not be prepared, in
        the order in which scans finish.

    Raises:
        ConfigError: No cluster can be used, or one of its machines does not
            see a path.
        OSError: The disk is full.
    """
    if not tasks:
        return
    inputs = {path: str(path) for task in tasks for path in task.files}
    with connected(ray) as cluster, shared_files(out, inputs) as shared:
        workers: RayWorkers[ScanTask, str | None] = RayWorkers(
            cluster, partial(_start, attempt), NEEDS, shared, ray.workers
        )
        with closing(workers.run(tasks)) as results:
            for task, result in results:
                if isinstance(result, Lost):
                    result = LOST.format(tries=result.tries)
                yield task.uid, result


def _start(attempt: Attempt) -> tuple[Attempt, None]:
    """Set a worker up; it needs nothing but ``attempt``."""
    return attempt, None
