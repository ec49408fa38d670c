"""The thread that passes jobs to the worker process and supervises it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread

from lungdet.apis.detector_options import DetectorOptions
from lungdet.errors import ConfigError
from lungdet.serve.job_run import Done, Failed, Task
from lungdet.serve.jobs import DONE, FAILED, Job
from lungdet.serve.storage import JobStorage
from lungdet.serve.worker import Windows, Worker, WorkerLost

POLL_SECONDS = 0.2  # interval of checks for a cancelled job
IDLE_SECONDS = 5.0  # interval of checks for expired jobs, when idle
UNNOTED = 'the server could not note its end; send it again.'


@dataclass(frozen=True)
class JobProgress:
    """Progress of the running job.

    Attributes:
        job_id: Id of the job.
        since: Time of the first report, by ``time.monotonic``.
        first: Number of windows done at that time.
        done: Number of windows done by now.
        total: Number of windows of the scan.
    """

    job_id: str
    since: float
    first: int
    done: int
    total: int

    def seconds_left(self) -> float | None:
        """Estimated time of the remaining windows; None until two batches are
        done."""
        if self.done <= self.first:
            return None
        each = (time.monotonic() - self.since) / (self.done - self.first)
        return each * (self.total - self.done)


class Supervisor:
    """Runs the queued jobs one at a time in a worker process.

    If a job crashes the process or exceeds the limits of time or memory, only
    that job fails; the next one gets a new process.

    Args:
        storage: The jobs.
        detector: How to build the detector.
        tell: Called with a log line about each event, which contains only
            ids and numbers.

    Attributes:
        model: Name of the detector; None until it is loaded.
        progress: Progress of the running job; None if no job is running.
        lost: Number of workers that ended or were killed.
        ended: Number of jobs that ended, by state.
        seconds: Time spent on jobs.
        defect: Class of the error that keeps jobs from running; None if there
            is none.
    """

    def __init__(
        self,
        storage: JobStorage,
        detector: DetectorOptions,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.storage = storage
        self.detector = detector
        self.tell = tell
        self.model: str | None = None
        self.progress: JobProgress | None = None
        self.lost = 0
        self.ended = dict.fromkeys((DONE, FAILED), 0)
        self.seconds = 0.0
        self.defect: str | None = None
        self._worker: Worker | None = None
        self._current: Job | None = None
        self._unnoted: Job | None = None  # its end is still to be noted
        self._removed = False  # whether a client deleted the current job
        self._lock = Lock()  # protects the two above
        self._wake, self._stopping = Event(), Event()
        self._thread = Thread(target=self._loop, name='supervisor')

    def start(self) -> None:
        """Load the detector, then start the thread.

        Raises:
            ConfigError: The detector cannot be loaded.
        """
        self._ready_worker()
        self._thread.start()

    def stop(self) -> None:
        """Stop; a running job returns to the queue, for the next server."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._end_worker()

    def wake(self) -> None:
        """Check the queue for a new job."""
        self._wake.set()

    def remove(self, job: Job) -> None:
        """Delete a job, even while it runs."""
        with self._lock:
            if self._current is not None and self._current.id == job.id:
                self._removed = True
                return
            self.storage.remove(job.id)
        self.tell(f'job {job.id} deleted')

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception as error:  # such as a full disk
                self.defect = type(error).__name__
                self.tell(f'no job can be run: {self.defect}; trying again')
                self._stopping.wait(IDLE_SECONDS)
            else:
                self.defect = None

    def _step(self) -> None:
        """Run the next job, or wait for one."""
        if (job := self._unnoted) is not None:
            self.storage.fail(job, UNNOTED)
            self._unnoted = None
            self.ended[FAILED] += 1
            self.tell(f'job {job.id} failed, {UNNOTED}')
        for job in self.storage.expire():
            self.tell(f'job {job.id} expired and was deleted')
        with self._lock:
            self._current, self._removed = (
                self.storage.jobs.start_next(),
                False,
            )
        if self._current is None:
            self._wake.wait(IDLE_SECONDS)
            self._wake.clear()
            return
        job = self._current
        try:
            self._work_on(job)
        except Exception:  # else it would run until the server is restarted
            self._unnoted = job
            raise
        finally:
            with self._lock:
                self.progress = self._current = None
                if self._removed:
                    self.storage.remove(job.id)
                    self.tell(f'job {job.id} deleted')

    def _work_on(self, job: Job) -> None:
        self.tell(f'job {job.id} started, start {job.starts}')
        started = time.monotonic()
        try:
            worker = self._ready_worker()
            worker.ask(self._task(job))
            answer = self._answer(job, worker)
        except ConfigError as error:
            answer = Failed(f'no worker could be started: {error}')
        except WorkerLost as error:
            self._end_worker()
            answer = Failed(f'its worker {error}.')
        seconds = time.monotonic() - started
        self.seconds += seconds
        if answer is not None:
            self._end(job, answer)
            state = DONE if isinstance(answer, Done) else FAILED
            self.ended[state] += 1
            self.tell(f'job {job.id} {state}, {seconds:.1f} s')
        elif not self._removed:
            self.storage.jobs.put_back(job)

    def _end(self, job: Job, answer: Done | Failed) -> None:
        if isinstance(answer, Failed):
            self.storage.fail(job, answer.reason)
            return
        self.storage.finish(
            job, detections=answer.detections, files=answer.files
        )

    def _answer(self, job: Job, worker: Worker) -> Done | Failed | None:
        """The outcome of a job; None if it was cancelled.

        Raises:
            WorkerLost: The worker ended.
        """
        limit = self.storage.limits.job_seconds
        deadline = time.monotonic() + limit
        while not (self._stopping.is_set() or self._removed):
            answer = worker.answer(POLL_SECONDS)
            if isinstance(answer, Done | Failed):
                return answer
            if isinstance(answer, Windows):
                self._note(job, answer)
            if time.monotonic() > deadline:
                self._end_worker()
                return Failed(f'took longer than the limit of {limit:g} s.')
        self._end_worker()
        return None

    def _note(self, job: Job, windows: Windows) -> None:
        done, total = windows.done, windows.total
        if self.progress is None:
            self.progress = JobProgress(
                job.id, time.monotonic(), done, done, total
            )
        else:
            self.progress = replace(self.progress, done=done, total=total)

    def _task(self, job: Job) -> Task:
        storage = self.storage
        return Task(
            job.id,
            storage.scan(job),
            storage.work_folder(job),
            storage.result(job.id),
        )

    def _ready_worker(self) -> Worker:
        """The worker; a new one if it is no longer alive.

        Raises:
            ConfigError: The detector cannot be loaded.
        """
        if self._worker is not None and not self._worker.process.is_alive():
            self._end_worker()  # was killed between two jobs
        if self._worker is None:
            limit = self.storage.limits.memory_bytes
            self._worker = Worker(self.detector, limit)
            self.model = self._worker.model
        return self._worker

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            self.lost += 1
