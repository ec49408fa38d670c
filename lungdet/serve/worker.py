"""The worker process, which runs jobs one at a time.

A job that crashes it does not affect the server.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from lungdet.apis.detector_options import DetectorOptions
from lungdet.errors import ConfigError, LungdetError, explain
from lungdet.io.processes import end_with_parent
from lungdet.serve.job_run import Done, Failed, Task, run_job

if TYPE_CHECKING:
    from lungdet.apis.inferencer import NoduleInferencer

START_SECONDS = 300.0  # time limit for loading the detector
OOM_SCORE = Path('/proc/self/oom_score_adj')
M_MMAP_THRESHOLD = -3  # of malloc.h
LARGE_BLOCK = 1 << 24  # bytes
FIRST_VICTIM = '1000'  # Linux kills this process first if memory runs out


@dataclass(frozen=True)
class Ready:
    """Message of a worker that has loaded the detector.

    Attributes:
        model: Name of the detector.
    """

    model: str


@dataclass(frozen=True)
class Windows:
    """Message about the progress of a job.

    Attributes:
        done: Number of windows done.
        total: Number of windows of the scan.
    """

    done: int
    total: int


Answer = Ready | Windows | Done | Failed


class WorkerLost(LungdetError):
    """The worker process has ended; the message continues "its worker ..."."""


class Worker:
    """Handle of a worker process, for the server.

    Args:
        detector: How to build the detector.
        memory_bytes: Limit of the process's data; None for no limit.

    Raises:
        ConfigError: The detector cannot be loaded.

    Attributes:
        model: Name of the detector.
    """

    def __init__(
        self, detector: DetectorOptions, memory_bytes: int | None = None
    ) -> None:
        context = get_context('spawn')  # fork is unsafe with threads
        self.connection, end = context.Pipe()
        self.process = context.Process(
            target=work, args=(end, detector, memory_bytes), daemon=True
        )
        try:
            self.process.start()
            end.close()  # so that the pipe closes when the worker ends
            self.model = self._wait()
        except BaseException:
            self.kill()
            raise

    def _wait(self) -> str:
        try:
            answer = self.answer(START_SECONDS)
        except WorkerLost as error:
            raise ConfigError(
                f'the worker {error} while it loaded the detector.'
            ) from error
        if isinstance(answer, Ready):
            return answer.model
        raise ConfigError(
            answer.reason
            if isinstance(answer, Failed)
            else f'the detector was not loaded within {START_SECONDS:g} s.'
        )

    def ask(self, task: Task) -> None:
        """Send a job to the worker.

        Raises:
            WorkerLost: The worker has ended.
        """
        try:
            self.connection.send(task)
        except OSError as error:
            raise WorkerLost(self._end()) from error

    def answer(self, seconds: float) -> Answer | None:
        """The next message of the worker; None after a timeout.

        Raises:
            WorkerLost: The worker has ended.
        """
        try:
            if self.connection.poll(seconds):
                return self.connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerLost(self._end()) from error
        return None

    def kill(self) -> None:
        """Kill the worker."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        self.connection.close()

    def _end(self) -> str:
        """Text that says how the process ended."""
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f'ended with code {code}'
        if -code == getattr(signal, 'SIGKILL', None):
            return 'was killed, perhaps because memory ran out'
        return f'crashed with signal {-code}'


def work(
    connection: Connection,
    detector: DetectorOptions,
    memory_bytes: int | None,
) -> None:
    """Main function of the worker process: run jobs until the pipe closes.

    Args:
        connection: Pipe that delivers tasks and takes their outcomes.
        detector: How to build the detector.
        memory_bytes: As in ``Worker``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    threading.Thread(target=end_with_parent, daemon=True).start()
    die_first(memory_bytes)
    return_large_blocks()
    try:
        inferencer = detector.build()
    except (LungdetError, OSError) as error:
        connection.send(Failed(explain(error)))
        return
    be_silent()
    connection.send(Ready(inferencer.info.name))
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        connection.send(_run(inferencer, task, connection))
        return_free_memory()


def _run(
    inferencer: NoduleInferencer, task: Task, connection: Connection
) -> Done | Failed:
    try:
        return run_job(
            inferencer,
            task,
            lambda done, total: connection.send(Windows(done, total)),
        )
    except Exception as error:  # must not end the worker
        return Failed(
            f'{type(error).__name__} in lungdet; please report this bug.'
        )


def die_first(memory_bytes: int | None) -> None:
    """If memory runs out, let the system kill this process, not the server.

    Args:
        memory_bytes: Limit of the process's data; None for no limit.

    Raises:
        ConfigError: The system does not support such a limit.
    """
    with suppress(OSError):  # exists on Linux only
        OOM_SCORE.write_bytes(FIRST_VICTIM.encode())
    if memory_bytes is None:
        return
    try:
        import resource
    except ImportError as error:  # Windows
        raise ConfigError(
            'this system cannot limit the memory of a process; leave out '
            '--max-memory.'
        ) from error
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def return_large_blocks() -> None:
    """Let glibc give each large block back to the system when it is freed.

    Else it learns from the first ones to keep blocks of up to 32 MB in pieces,
    and the peak of a job depends on how the pieces lie.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def return_free_memory() -> None:
    """Free what only reference cycles hold, and give the system the memory
    that is free, which glibc would keep in pieces: the process would grow for
    dozens of jobs.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def be_silent() -> None:
    """Discard all further output, since libraries may quote headers, which
    name patients.

    Only the stack trace of a crash is printed, which contains only code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    stack = os.fdopen(os.dup(2), 'w')
    faulthandler.enable(stack, all_threads=False)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
