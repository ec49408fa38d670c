"""Pools of processes that read and write scans in parallel."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context

from lungdet.threads import set_one_thread


def start_process() -> None:
    """What each process does first."""
    set_one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """A pool of processes that stops at once if the block raises.

    Its processes ignore Ctrl-C, which reaches the whole process group, and
    leave it to the caller: a worker that died of it would look like one killed
    for lack of memory.

    Args:
        jobs: How many processes.
    """
    before = set(active_children())
    pool = ProcessPoolExecutor(
        jobs,
        get_context('spawn'),
        initializer=start_process,
    )
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - before:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
