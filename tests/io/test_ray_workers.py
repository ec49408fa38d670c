"""Distribution of tasks when workers are killed, on a simulated cluster."""

from __future__ import annotations

import errno
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lungdet.errors import ConfigError
from lungdet.io.ray_cluster import Cluster, Needs, shared_files
from lungdet.io.ray_workers import (
    STARTS,
    TRIES,
    Lost,
    RayWorkers,
    portable_error,
)

TWO = ({'CPU': 2.0, 'memory': 1e9},)
KILLED = 'killed'


class Refused(Exception):
    """Stands for Ray's error for a call that could not be made."""


class Killed(Refused):
    """Stands for Ray's error for a call whose worker died."""

    actor_init_failed = False


class Unimportable(Killed):
    """Stands for Ray's error if a worker's class cannot be imported."""

    actor_init_failed = True


class FakeRay:
    """Fake Ray: runs a call when it is waited for, or lets its worker die."""

    exceptions = SimpleNamespace(
        RayActorError=Killed,
        OutOfMemoryError=Killed,
        NodeDiedError=Killed,
        ObjectLostError=Killed,
        RayError=Refused,
    )

    def __init__(self, start: Any) -> None:
        self.start = start
        self.started = 0
        self.left: list[Any] = []

    def remote(self, _: Any) -> FakeRay:
        return self

    def options(self, **needs: Any) -> Any:
        self.needs = needs
        return SimpleNamespace(remote=self.actor)

    def actor(self, threads: int) -> Any:
        assert threads == self.needs['num_cpus']
        self.started += 1
        one = FakeActor(self)
        self.left.append(one)
        return one

    def wait(
        self, calls: Sequence[FakeCall], timeout: float
    ) -> tuple[list[FakeCall], list[FakeCall]]:
        return [calls[0]], [*calls[1:]]

    def get(self, call: FakeCall) -> Any:
        return call.do()

    def kill(self, actor: FakeActor) -> None:
        self.left.remove(actor)


class FakeCall:
    def __init__(self, do: Callable[[], Any]) -> None:
        self.do = do


class FakeActor:
    def __init__(self, ray: FakeRay) -> None:
        self.start = SimpleNamespace(
            remote=lambda *given: FakeCall(lambda: self.answer(ray.start))
        )
        self.work = SimpleNamespace(
            remote=lambda task: FakeCall(lambda: self.answer(task))
        )

    @staticmethod
    def answer(task: Callable[[], Any]) -> Any:
        """A worker's answer to a call."""
        value = task()
        if value is KILLED:
            raise Killed
        error = value if isinstance(value, Exception) else None

        def get() -> Any:
            if error is not None:
                raise error
            return value

        return SimpleNamespace(get=get)


class Task:
    """A task with scripted outcomes, one for each attempt."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = [*outcomes]

    def __call__(self) -> Any:
        return self.outcomes.pop(0)


def work(
    tasks: Sequence[Task], tmp_path: Path, start: Any = lambda: 'here'
) -> tuple[list[Any], RayWorkers, FakeRay]:
    ray = FakeRay(start)
    with shared_files(tmp_path, {}) as shared:
        workers: RayWorkers = RayWorkers(
            Cluster(ray, TWO), lambda: (None, None), Needs(1, 10**8), shared
        )
        with closing(workers.run(tasks)) as results:
            done = [(tasks.index(task), value) for task, value in results]
    return done, workers, ray


def test_every_task_is_done_once(tmp_path: Path) -> None:
    tasks = [Task(f'r{k}') for k in range(5)]

    done, workers, ray = work(tasks, tmp_path)

    assert sorted(done) == [(k, f'r{k}') for k in range(5)]
    assert ray.started == 2 and workers.about == ['here', 'here']
    assert (workers.lost, workers.retried) == (0, 0)


def test_no_more_workers_than_tasks(tmp_path: Path) -> None:
    _, _, ray = work([Task('r')], tmp_path)

    assert ray.started == 1


def test_the_task_of_a_killed_worker_goes_to_another_one(
    tmp_path: Path,
) -> None:
    tasks = [Task('a'), Task(KILLED, KILLED, 'b'), Task('c'), Task('d')]

    with pytest.warns(UserWarning, match='another one takes over') as told:
        done, workers, ray = work(tasks, tmp_path)

    assert Counter(done) == Counter(enumerate('abcd'))
    assert (workers.lost, workers.retried) == (2, 2)
    assert len(told) == 2 and '(2 so far)' in str(told[1].message)
    assert ray.started == 4


def test_a_task_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    tasks = [Task(*[KILLED] * TRIES), Task('b'), Task('c')]

    with pytest.warns(UserWarning, match='was killed'):
        done, workers, _ = work(tasks, tmp_path)

    assert dict(done) == {0: Lost(TRIES), 1: 'b', 2: 'c'}
    assert (workers.lost, workers.retried) == (TRIES, TRIES - 1)


def test_workers_that_die_while_they_start_end_the_run(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=f'{STARTS} workers were killed'):
        work([Task('a'), Task('b')], tmp_path, lambda: KILLED)


@pytest.mark.parametrize(
    'error', [ConfigError('other weights'), OSError(errno.ENOSPC, 'full')]
)
def test_what_a_worker_raises_ends_the_run_and_all_workers(
    tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        work([Task('a')], tmp_path, lambda: error)
    assert caught.value is error
    ray = FakeRay(lambda: 'here')
    with shared_files(tmp_path, {}) as shared:
        workers: RayWorkers = RayWorkers(
            Cluster(ray, TWO), lambda: (None, None), Needs(1, 10**8), shared
        )
        with pytest.raises(type(error)):
            [*workers.run([Task(error), Task('b'), Task('c')])]
    # the worker that raised is released, the others are killed
    assert len(ray.left) == 1


@pytest.mark.parametrize('cls', [OSError, PermissionError, FileExistsError])
def test_errors_of_the_system_keep_their_class(cls: type[OSError]) -> None:
    error = portable_error(cls(errno.EDOM, 'denied', 'out'))

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls and copy.filename == 'out'


def test_other_errors_come_as_text() -> None:
    class Own(Exception):
        """A class that another process does not have."""

    copy = pickle.loads(pickle.dumps(portable_error(Own('odd'))))

    assert type(copy) is RuntimeError
    assert 'in a worker: odd' in str(copy) and 'Own: odd' in str(copy)


@pytest.mark.parametrize('kind', [Refused, Unimportable])
def test_a_call_that_cannot_be_made_is_one_line(
    tmp_path: Path, kind: type[Exception]
) -> None:
    def refuse() -> None:
        raise kind('No module\nnamed lungdet')

    with pytest.raises(ConfigError, match='No module named .*install lungdet'):
        work([Task('a')], tmp_path, refuse)


def test_a_cluster_that_is_too_small_says_so(tmp_path: Path) -> None:
    with shared_files(tmp_path, {}) as shared:
        with pytest.raises(ConfigError, match='has 4 processors and 2 GB and'):
            RayWorkers(
                Cluster(FakeRay(None), TWO),
                lambda: (None, None),
                Needs(4, 2 * 10**9, 1),
                shared,
            )
