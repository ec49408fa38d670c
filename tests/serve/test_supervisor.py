"""Jobs are run whatever happens to a worker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from lungdet.errors import ConfigError
from lungdet.serve import supervisor as supervisor_module
from lungdet.serve.job_run import Done, Failed, Task
from lungdet.serve.service import Service
from lungdet.serve.supervisor import JobProgress, Supervisor
from lungdet.serve.worker import Windows, WorkerLost
from tests.serve.scene import (
    Make,
    client_of,
    make_service,
    send,
    service,
)

__all__ = ['make_service', 'service']
PATIENCE = 30.0


class Script:
    """Factory of fake workers that give scripted answers.

    Attributes:
        answers: The next answers; while there are none, workers are silent.
        made: The workers created so far.
    """

    def __init__(self) -> None:
        self.answers: deque[Any] = deque()
        self.made: list[Scripted] = []
        self.defect: str | None = None

    def __call__(self, *_: Any) -> Scripted:
        if self.defect is not None:
            raise ConfigError(self.defect)
        self.made.append(Scripted(self))
        return self.made[-1]


class Scripted:
    """A fake worker."""

    model = 'scripted'

    def __init__(self, script: Script) -> None:
        self.script, self.process, self.alive = script, self, True
        self.task: Task | None = None

    def is_alive(self) -> bool:
        return self.alive

    def kill(self) -> None:
        self.alive = False

    def ask(self, task: Task) -> None:
        assert self.alive
        self.task = task

    def answer(self, seconds: float) -> Any:
        if not self.script.answers:
            time.sleep(0.01)
            return None
        answer = self.script.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Done):
            assert self.task
            self.task.result.mkdir(parents=True)
            (self.task.result / 'result.json').write_text('{}')
        return answer


DONE = Done(1, {'json': ['result.json']})


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script()
    monkeypatch.setattr(supervisor_module, 'Worker', made)
    return made


@pytest.fixture
def running(service: Service, script: Script) -> Iterator[Service]:
    service.supervisor.start()
    yield service
    service.supervisor.stop()


def until(service: Service, job_id: str, *states: str) -> Any:
    """Wait until a job is in one of the states; return its view."""
    client = client_of(service)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        job = client.get(f'/v1/jobs/{job_id}').json()
        if job.get('state') in states:
            return job
        time.sleep(0.01)
    raise AssertionError(f'{job} is not {states}')


def sent(service: Service) -> str:
    return send(client_of(service)).json()['id']


def test_jobs_are_done_one_after_the_other(
    running: Service, script: Script
) -> None:
    script.answers += [Windows(1, 2), DONE, Failed('no air'), DONE]

    ids = [sent(running) for _ in range(3)]

    done, failed, last = (until(running, i, 'done', 'failed') for i in ids)
    assert (done['state'], last['state']) == ('done', 'done')
    assert (failed['state'], failed['error']) == ('failed', 'no air')
    assert len(script.made) == 1 and running.supervisor.lost == 0
    assert running.supervisor.ended == {'done': 2, 'failed': 1}
    assert running.supervisor.model == 'scripted'


def test_a_worker_that_dies_takes_one_job_with_it(
    running: Service, script: Script
) -> None:
    script.answers += [WorkerLost('crashed with signal 11'), DONE]

    first, second = sent(running), sent(running)

    job = until(running, first, 'failed')
    assert job['error'] == 'its worker crashed with signal 11.'
    assert until(running, second, 'done')['detections'] == 1
    assert len(script.made) == 2 and running.supervisor.lost == 1


def test_a_worker_that_died_between_two_jobs_takes_none(
    running: Service, script: Script
) -> None:
    script.made[0].alive = False
    script.answers.append(DONE)

    until(running, sent(running), 'done')

    assert len(script.made) == 2


def test_a_job_that_takes_too_long_ends(
    make_service: Make, script: Script
) -> None:
    service = make_service(job_seconds=0.2)
    service.supervisor.start()
    slow = sent(service)

    job = until(service, slow, 'failed')
    script.answers.append(DONE)
    until(service, sent(service), 'done')
    service.supervisor.stop()

    assert job['error'] == 'took longer than the limit of 0.2 s.'
    assert len(script.made) == 2 and not script.made[0].alive


def test_progress_is_told_while_a_job_is_worked_on(
    running: Service, script: Script
) -> None:
    job_id = sent(running)
    assert until(running, job_id, 'running')['windows_total'] is None

    for done in (2, 4):
        script.answers.append(Windows(done, 10))
        while until(running, job_id, 'running')['windows_done'] != done:
            time.sleep(0.01)

    job = until(running, job_id, 'running')
    assert job['windows_total'] == 10 and job['seconds_left'] > 0
    waiting = client_of(running).get(f'/v1/jobs/{sent(running)}').json()
    assert waiting['ahead'] == 1 and waiting['windows_done'] is None
    script.answers += [DONE, DONE]
    assert until(running, job_id, 'done')['windows_done'] is None


def test_time_left_needs_two_batches() -> None:
    start = JobProgress('a', time.monotonic() - 6, 2, 2, 10)

    assert start.seconds_left() is None
    later = JobProgress('a', time.monotonic() - 6, 2, 5, 10)
    assert later.seconds_left() == pytest.approx(10, rel=0.01)


def test_a_job_that_is_worked_on_is_deleted(
    running: Service, script: Script
) -> None:
    job_id = sent(running)
    until(running, job_id, 'running')

    client_of(running).delete(f'/v1/jobs/{job_id}')

    end = time.monotonic() + PATIENCE
    while running.storage.folder(job_id).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert running.storage.jobs.get(job_id) is None
    assert not script.made[0].alive
    script.answers.append(DONE)
    until(running, sent(running), 'done')


def test_the_end_of_a_server_leaves_the_job_for_the_next(
    service: Service, script: Script
) -> None:
    service.supervisor.start()
    job_id = sent(service)
    until(service, job_id, 'running')

    service.supervisor.stop()

    job = service.storage.jobs.get(job_id)
    assert job and (job.state, job.starts) == ('queued', 0)
    assert not script.made[0].alive
    assert service.storage.scan(job).is_file()


def test_a_detector_that_cannot_be_loaded(
    service: Service, script: Script
) -> None:
    script.defect = 'w.pth: not there'

    with pytest.raises(ConfigError, match='not there'):
        service.supervisor.start()
    service.supervisor.stop()


def test_one_that_is_gone_later_fails_the_job(
    running: Service, script: Script
) -> None:
    script.made[0].alive, script.defect = False, 'w.pth: not there'

    job = until(running, sent(running), 'failed')

    assert 'no worker could be started: w.pth' in job['error']
    script.defect = None
    script.answers.append(DONE)
    until(running, sent(running), 'done')


def test_an_error_of_the_queue_is_told_and_passes(
    service: Service, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, 'IDLE_SECONDS', 0.1)
    jobs = service.storage.jobs
    usual, calls = jobs.start_next, []

    def start_next() -> Any:
        calls.append(1)
        if len(calls) < 4:
            raise OSError(28, 'DOE')
        return usual()

    monkeypatch.setattr(jobs, 'start_next', start_next)
    told: list[str] = []
    supervisor = Supervisor(
        service.storage, service.supervisor.detector, told.append
    )
    supervisor.start()
    while len(calls) < 3:
        time.sleep(0.01)
    assert supervisor.defect == 'OSError'

    script.answers.append(DONE)
    until(service, sent(service), 'done')
    supervisor.stop()

    assert supervisor.defect is None
    assert told[0] == 'no job can be run: OSError; trying again'


def test_what_has_expired_is_deleted_while_jobs_come(
    make_service: Make, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, 'IDLE_SECONDS', 0.1)
    service = make_service(keep_seconds=0.3)
    service.supervisor.start()
    script.answers.append(DONE)
    job_id = sent(service)

    end = time.monotonic() + PATIENCE
    folder = service.storage.folder(job_id)
    # the row is deleted first, then the folder
    while service.storage.jobs.get(job_id) or folder.exists():
        assert time.monotonic() < end
        time.sleep(0.02)

    assert service.supervisor.ended['done'] == 1
    service.supervisor.stop()


def test_a_job_whose_end_cannot_be_noted_does_not_run_forever(
    service: Service, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of jobs may be full for a while."""
    monkeypatch.setattr(supervisor_module, 'IDLE_SECONDS', 0.1)
    jobs, calls = service.storage.jobs, []

    def full(*args: Any, **values: Any) -> None:
        calls.append(1)
        raise OSError(28, 'DOE')

    monkeypatch.setattr(jobs, 'finish', full)
    script.answers.append(DONE)
    service.supervisor.start()
    first = sent(service)

    job = until(service, first, 'failed')
    monkeypatch.undo()
    script.answers.append(DONE)
    until(service, sent(service), 'done')
    service.supervisor.stop()

    assert calls == [1]
    assert service.supervisor.ended == {'done': 1, 'failed': 1}
    assert job['error'].startswith('the server could not note its end')
