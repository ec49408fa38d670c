"""Workers on a Ray cluster that process a list of tasks.

A worker is a process (a Ray actor). It is set up once, for example with a
network, and then runs one task after another. If a worker is killed, its task
is given to another one.
"""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import lungdet
from lungdet.errors import ConfigError, LungdetError
from lungdet.io.ray_cluster import Cluster, Needs, SharedFiles
from lungdet.threads import set_thread_number

Task = TypeVar('Task')
Result = TypeVar('Result')
# sets a worker up; returns the function that runs a task, and information
# about the worker
Start = Callable[[], tuple[Callable[[Task], Result], Any]]

TRIES = 3  # attempts at a task whose workers are killed
STARTS = 5  # workers killed in a row while starting, until the run is aborted
PATIENCE_S = 30.0  # seconds without a worker, until a warning


@dataclass(frozen=True)
class Lost:
    """Stands for the result of a task whose workers were all killed.

    Attributes:
        tries: Number of attempts.
    """

    tries: int = TRIES


@dataclass(frozen=True)
class _Answer:
    """A worker's return value. It may hold an error: Ray would log a raised
    one."""

    value: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class Worker:
    """A worker, as it runs in its own process.

    Its output is discarded: libraries may print names of files and patients,
    which Ray would keep in its logs.

    Args:
        threads: Number of threads of its libraries, none of which may be
            loaded yet.
    """

    def __init__(self, threads: int) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        set_thread_number(threads)
        self._work: Callable[[Any], Any] | None = None

    def start(self, start: Start, shared: SharedFiles, version: str) -> Any:
        """Set the worker up; the answer holds the information of ``Start``."""
        try:
            if version != lungdet.__version__:
                raise ConfigError(
                    f'a machine of the Ray cluster has lungdet '
                    f'{lungdet.__version__}, this one {version}; install the '
                    'same version on all.'
                )
            shared.check()
            self._work, about = start()
            return _Answer(about)
        except Exception as error:
            return _Answer(error=portable_error(error))

    def work(self, task: Any) -> _Answer:
        """Run a task."""
        try:
            assert self._work is not None
            return _Answer(self._work(task))
        except Exception as error:
            return _Answer(error=portable_error(error))


def portable_error(error: Exception) -> Exception:
    """An error that another process can unpickle.

    Errors of classes that the other process may not know become a
    ``RuntimeError`` with the traceback as text.
    """
    of_system = (
        isinstance(error, OSError) and type(error).__module__ == 'builtins'
    )
    if of_system or isinstance(error, LungdetError):
        return error
    text = ''.join(traceback.format_exception(error))
    return RuntimeError(f'in a worker: {error}\n{text}')


class RayWorkers(Generic[Task, Result]):
    """A pool of workers; each idle worker takes the next task of the list.

    Args:
        cluster: The cluster that they run on.
        start: Sets a worker up.
        needs: Resources that each worker needs.
        shared: Files that each worker must see.
        limit: Largest number of workers; None for as many as fit.

    Attributes:
        about: The information that ``start`` returned for each worker.
        lost: Number of workers that were killed during a task.
        retried: Number of times that a task was given to another worker.

    Raises:
        ConfigError: No machine has the resources for a worker.
    """

    def __init__(
        self,
        cluster: Cluster,
        start: Start[Task, Result],
        needs: Needs,
        shared: SharedFiles,
        limit: int | None = None,
    ) -> None:
        self.ray = cluster.ray
        self.start = start
        self.needs = needs
        self.shared = shared
        self.number = sum(map(needs.number_on, cluster.machines))
        if not self.number:
            raise ConfigError(
                f'--ray: no machine of the cluster has {needs.cpus} '
                f'processors and {needs.memory / 1e9:g} GB'
                + (f' and {needs.gpus:g} GPUs' if needs.gpus else '')
                + ' for a worker; use larger machines, or fewer --threads.'
            )
        self.number = min(self.number, limit or self.number)
        self.about: list[Any] = []
        self.lost = self.retried = 0
        self._class = self.ray.remote(Worker).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=needs.memory,
            scheduling_strategy='SPREAD',
        )
        self._calls: dict[Any, Any] = {}  # the worker of each call
        self._early_ends = 0

    def run(
        self, tasks: Sequence[Task]
    ) -> Generator[tuple[Task, Result | Lost], None, None]:
        """Run all tasks.

        Yields:
            Each task with its result, as they finish.

        Raises:
            ConfigError: A worker could not start.
            OSError: Raised by a task.
            RuntimeError: Any other error of a task, with its traceback.
        """
        waiting = deque(range(len(tasks)))
        deaths: Counter[int] = Counter()
        busy: dict[Any, int] = {}  # the task of each running call
        try:
            for _ in range(min(self.number, len(tasks))):
                self._start_worker()
            while waiting or busy:
                call = self._ended_call(working=bool(busy))
                actor, number = self._calls.pop(call), busy.pop(call, None)
                answer = self._answer(call)
                if answer is None:
                    self.ray.kill(actor)  # it may be alive, but unreachable
                    yield from self._reassign(number, tasks, waiting, deaths)
                    continue
                if number is None:
                    self.about.append(answer.get())
                    self._early_ends = 0
                else:
                    yield tasks[number], answer.get()
                if waiting:
                    number = waiting.popleft()
                    call = actor.work.remote(tasks[number])
                    self._calls[call], busy[call] = actor, number
        finally:
            for actor in self._calls.values():
                self.ray.kill(actor)
            self._calls.clear()

    def _start_worker(self) -> None:
        """Start a worker as soon as the cluster has room for it."""
        actor = self._class.remote(self.needs.cpus)
        call = actor.start.remote(self.start, self.shared, lungdet.__version__)
        self._calls[call] = actor

    def _ended_call(self, working: bool) -> Any:
        """Wait until a worker answers or is killed; return the call.

        Args:
            working: Whether a worker is running a task; if not, warn when no
                worker starts for a while.
        """
        started = time.monotonic()
        warned = working
        while True:
            # with a short timeout, so that Ctrl-C gets through
            ended, _ = self.ray.wait([*self._calls], timeout=1.0)
            if ended:
                return ended[0]
            if not warned and time.monotonic() - started > PATIENCE_S:
                warned = True
                warnings.warn(
                    'no worker has started yet; the cluster may be busy with '
                    'other jobs',
                    stacklevel=2,
                )

    def _answer(self, call: Any) -> _Answer | None:
        """The answer of a worker; None if it was killed.

        Raises:
            ConfigError: The worker cannot run on its machine.
        """
        errors = self.ray.exceptions
        try:
            return self.ray.get(call)
        except errors.RayError as error:
            killed = (
                errors.RayActorError,
                errors.OutOfMemoryError,
                errors.NodeDiedError,
                errors.ObjectLostError,
            )
            # raised also if the actor's class cannot be imported
            at_start = getattr(error, 'actor_init_failed', False)
            if isinstance(error, killed) and not at_start:
                return None
            raise ConfigError(
                f'--ray: a worker cannot run '
                f'({" ".join(str(error).split()):.300}); install lungdet on '
                'every machine of the cluster.'
            ) from error

    def _reassign(
        self,
        number: int | None,
        tasks: Sequence[Task],
        waiting: deque[int],
        deaths: Counter[int],
    ) -> Iterator[tuple[Task, Lost]]:
        """Reassign the task of a killed worker, unless it was tried too
        often."""
        if number is None:
            self._early_ends += 1
            if self._early_ends == STARTS:
                raise ConfigError(
                    f'--ray: {STARTS} workers were killed while they started; '
                    'their machines may be out of memory.'
                )
        else:
            self.lost += 1
            deaths[number] += 1
            if deaths[number] == TRIES:
                yield tasks[number], Lost()
            else:
                self.retried += 1
                waiting.appendleft(number)
                warnings.warn(
                    f'a worker was killed ({self.lost} so far); another one '
                    'takes over its scan',
                    stacklevel=2,
                )
        if waiting:
            self._start_worker()
