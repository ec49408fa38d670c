"""Workers on a Ray cluster that do the same work on many scans.

A worker is a process (an actor) that is set up once, for example with a
network, and then does one task after another. A task whose worker is killed
goes to another worker.
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
# called in a worker; returns the function of a task, and facts of the worker
Start = Callable[[], tuple[Callable[[Task], Result], Any]]

TRIES = 3  # of a task whose worker is killed
STARTS = 5  # workers killed at their start, after which the run ends
PATIENCE_S = 30.0  # without a worker, until a warning


@dataclass(frozen=True)
class Lost:
    """In place of a result: every worker on the task was killed."""

    tries: int = TRIES


@dataclass(frozen=True)
class _Answer:
    """What a worker returns; it never raises, since Ray logs such errors."""

    value: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class Worker:
    """The process of a worker.

    It prints nothing: libraries may print names of files and patients, which
    Ray would keep in its logs.

    Args:
        threads: For its libraries, none of which may be loaded yet.
    """

    def __init__(self, threads: int) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        set_thread_number(threads)
        self._work: Callable[[Any], Any] | None = None

    def start(self, start: Start, shared: SharedFiles, version: str) -> Any:
        """Set the worker up; answers with the facts of ``Start``."""
        try:
            if version != lungdet.__version__:
                raise ConfigError(
                    f'a machine of the Ray cluster has lungdet '
                    f'{lungdet.__version__}, this one {version}; install one '
                    'version on all.'
                )
            shared.check()
            self._work, about = start()
            return _Answer(about)
        except Exception as error:
            return _Answer(error=portable_error(error))

    def work(self, task: Any) -> _Answer:
        """Do a task."""
        try:
            assert self._work is not None
            return _Answer(self._work(task))
        except Exception as error:
            return _Answer(error=portable_error(error))


def portable_error(error: Exception) -> Exception:
    """An error that another process can unpickle."""
    of_system = (
        isinstance(error, OSError) and type(error).__module__ == 'builtins'
    )
    if of_system or isinstance(error, LungdetError):
        return error
    text = ''.join(traceback.format_exception(error))
    return RuntimeError(f'in a worker: {error}\n{text}')


class RayWorkers(Generic[Task, Result]):
    """Workers that share a list of tasks; whichever is free takes the next.

    Args:
        cluster: Where they run.
        start: Sets each of them up.
        needs: What each of them takes of a machine.
        shared: The files that they must see.
        limit: Number of workers at most, None for as many as fit.

    Attributes:
        about: The facts of each worker that started.
        lost: Workers that were killed during a task.
        retried: Tasks that went to another worker, counted each time.

    Raises:
        ConfigError: No machine has room for a worker.
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
                + ' for a worker; give it more, or fewer --threads.'
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
        """Do all tasks; yields each with its result, as they finish.

        Raises:
            ConfigError: A worker could not start.
            OSError: Raised by a task.
            RuntimeError: Any other error of a task, with its traceback.
        """
        waiting = deque(range(len(tasks)))
        deaths: Counter[int] = Counter()
        busy: dict[Any, int] = {}  # tasks by the call that is to do them
        try:
            for _ in range(min(self.number, len(tasks))):
                self._start_worker()
            while waiting or busy:
                call = self._ended_call(working=bool(busy))
                actor, number = self._calls.pop(call), busy.pop(call, None)
                answer = self._answer(call)
                if answer is None:
                    self.ray.kill(actor)  # it may only be out of reach
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
        """Start a worker; Ray waits until there is room for it."""
        actor = self._class.remote(self.needs.cpus)
        call = actor.start.remote(self.start, self.shared, lungdet.__version__)
        self._calls[call] = actor

    def _ended_call(self, working: bool) -> Any:
        """Wait until a worker has answered, or was killed.

        Args:
            working: Whether a worker does a task, so that none is missed.
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
                    'no worker has started; other work may fill the cluster',
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
            # an actor whose class cannot be imported dies of that
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
        """Give the task of a killed worker to another one, unless it has
        killed too many.
        """
        if number is None:
            self._early_ends += 1
            if self._early_ends == STARTS:
                raise ConfigError(
                    f'--ray: {STARTS} workers were killed while they started; '
                    'perhaps memory runs out there.'
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
                    f'a worker was killed ({self.lost} so far); its scan goes '
                    'to another one',
                    stacklevel=2,
                )
        if waiting:
            self._start_worker()
