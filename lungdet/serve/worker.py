"""The process that runs jobs one at a time, and that a job may crash."""

from __future__ import annotations

import faulthandler
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

START_SECONDS = 300.0  # until the detector must be loaded
OOM_SCORE = Path('/proc/self/oom_score_adj')
FIRST_VICTIM = '1000'  # of Linux, where memory is short


@dataclass(frozen=True)
class Ready:
    """The detector is loaded.

    Attributes:
        model: Its name.
    """

    model: str


@dataclass(frozen=True)
class Windows:
    """Progress of a job.

    Attributes:
        done: Number of windows done.
        total: Number of windows of the scan.
    """

    done: int
    total: int


Answer = Ready | Windows | Done | Failed


class WorkerLost(LungdetError):
    """A worker ended; the message continues "its worker ..."."""


class Worker:
    """A worker process, as seen by the server.

    Args:
        detector: The detector to load.
        memory_bytes: Limit of its data, None for no limit.

    Raises:
        ConfigError: The detector cannot be loaded.

    Attributes:
        model: Name of the detector.
    """

    def __init__(
        self, detector: DetectorOptions, memory_bytes: int | None = None
    ) -> None:
        context = get_context('spawn')  # no copy of the server's threads
        self.connection, end = context.Pipe()
        self.process = context.Process(
            target=work, args=(end, detector, memory_bytes), daemon=True
        )
        try:
            self.process.start()
            end.close()  # so that the pipe ends with the worker
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
        """Send it a job.

        Raises:
            WorkerLost: It has ended.
        """
        try:
            self.connection.send(task)
        except OSError as error:
            raise WorkerLost(self._end()) from error

    def answer(self, seconds: float) -> Answer | None:
        """Its next message; None after a timeout.

        Raises:
            WorkerLost: It has ended.
        """
        try:
            if self.connection.poll(seconds):
                return self.connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerLost(self._end()) from error
        return None

    def kill(self) -> None:
        """Kill it."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        self.connection.close()

    def _end(self) -> str:
        """How it ended, as text."""
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f'ended with code {code}'
        if -code == getattr(signal, 'SIGKILL', None):
            return 'was killed, as by a system that has no memory left'
        return f'crashed by signal {-code}'


def work(
    connection: Connection,
    detector: DetectorOptions,
    memory_bytes: int | None,
) -> None:
    """Run the jobs that arrive at the connection; runs in the worker.

    Args:
        connection: Receives tasks, and sends their outcomes.
        detector: The detector to load first.
        memory_bytes: As ``Worker``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the server's terminal
    threading.Thread(target=end_with_parent, daemon=True).start()
    die_first(memory_bytes)
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


def _run(
    inferencer: NoduleInferencer, task: Task, connection: Connection
) -> Done | Failed:
    try:
        return run_job(
            inferencer,
            task,
            lambda done, total: connection.send(Windows(done, total)),
        )
    except Exception as error:  # any error of this scan
        return Failed(f'{type(error).__name__} in lungdet; report it.')


def die_first(memory_bytes: int | None) -> None:
    """If memory runs out, let the system end this process, not the server.

    Args:
        memory_bytes: Limit of its data, which the system enforces.
    """
    with suppress(OSError):  # other systems
        OOM_SCORE.write_bytes(FIRST_VICTIM.encode())
    if memory_bytes is None:
        return
    try:
        import resource
    except ImportError as error:  # Windows
        raise ConfigError(
            'this system does not limit the memory of a process; leave '
            '--max-memory out.'
        ) from error
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def be_silent() -> None:
    """Print nothing from now on: libraries quote headers, which name patients.

    Only the stack of a crash is printed, which quotes only code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    stack = os.fdopen(os.dup(2), 'w')
    faulthandler.enable(stack, all_threads=False)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
