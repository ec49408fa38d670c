"""Pools of processes that read and write scans in parallel."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process

from lungdet.threads import set_one_thread


@contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """A pool of processes that stops at once if the block raises.

    Its processes ignore Ctrl-C, which reaches the whole process group, and
    leave it to the caller: a worker that died of it would look like one killed
    for lack of memory. They end with the caller,
    whatever ends it.

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


def start_process() -> None:
    """Use one thread, leave Ctrl-C to the caller, and end with the caller."""
    set_one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """End this process when the one that started it has ended.

    Python's own pipe to the parent tells: the system closes it for a process
    that is killed, on every platform.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
