"""Processes that read and write scans side by side."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """A pool that ends at once, and its queue with it, where the caller is
    stopped.

    Ctrl-C reaches a whole process group. The pool's processes leave it to the
    caller: one that died of it would look like one killed for want of memory.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(
        jobs,
        get_context('spawn'),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
