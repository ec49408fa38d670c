"""The table of jobs, in SQLite, so that jobs survive a restart."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import Any

from lungdet.errors import ConfigError
from lungdet.io.files import check_regular
from lungdet.io.json_file import items, keyed, number, text, whole

QUEUED, RUNNING, DONE, FAILED = 'queued', 'running', 'done', 'failed'
STATES = (QUEUED, RUNNING, DONE, FAILED)
VERSION = 1  # of the table schema
TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  suffix TEXT NOT NULL,
  state TEXT NOT NULL,
  size INTEGER NOT NULL,
  created REAL NOT NULL,
  started REAL,
  ended REAL,
  starts INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  detections INTEGER,
  files TEXT NOT NULL DEFAULT '{}'
)
"""
# raised for rows that another program wrote
NOT_A_JOB = (KeyError, TypeError, ValueError, OverflowError, RecursionError)
RECENT = 20  # jobs over which the duration is averaged
ENDED_TOO_OFTEN = (
    'was started {starts} times, and the server was killed each time; the '
    'scan may need more memory than the server has.'
)


@dataclass(frozen=True)
class Job:
    """An uploaded scan and the state of its processing.

    Attributes:
        number: Position in the order of arrival.
        id: 32 random hex digits; also the name of its folder.
        suffix: Suffix of the scan's file, such as ``.nii.gz``.
        state: One of ``STATES``.
        size: Bytes on disk.
        created: Time of arrival, in seconds since 1970.
        started: Time of the last start; None while it is queued.
        ended: Time at which it was done or failed; None before.
        starts: Number of starts.
        error: Reason for the failure; None if it has not failed.
        detections: Number of detections; None until it is done.
        files: Names of the result files, by format.
    """

    number: int
    id: str
    suffix: str
    state: str
    size: int
    created: float
    started: float | None
    ended: float | None
    starts: int
    error: str | None
    detections: int | None
    files: Mapping[str, Sequence[str]]


class JobTable:
    """The jobs of a folder, locked for this process until closed.

    Args:
        path: Path of the database, created if missing.

    Raises:
        ConfigError: Another server uses it, or it is not a job table of this
            version.
    """

    def __init__(self, path: Path) -> None:
        self._lock = RLock()
        if path.exists():
            check_regular(path, error=ConfigError)
        self._database = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._open()
            self._check()
        except (sqlite3.Error, *NOT_A_JOB) as error:
            self._database.close()
            if 'locked' in str(error):
                raise ConfigError(
                    f'{path}: another server uses it; stop that server, or '
                    'choose another folder.'
                ) from error
            raise ConfigError(
                f'{path}: cannot be used as a job table ({error}); choose '
                'another folder.'
            ) from error

    def _open(self) -> None:
        run = self._database.execute
        # the first statement takes the exclusive lock: no second server can
        # open it, and WAL needs no shared memory
        run('PRAGMA locking_mode = EXCLUSIVE')
        run('PRAGMA journal_mode = WAL')
        run('PRAGMA synchronous = FULL')
        run('BEGIN IMMEDIATE')
        (version,) = run('PRAGMA user_version').fetchone()
        if version not in (0, VERSION):
            run('ROLLBACK')
            raise sqlite3.DatabaseError(f'version {version}, not {VERSION}')
        run(TABLE)
        run(f'PRAGMA user_version = {VERSION}')
        run('COMMIT')

    def _check(self) -> None:
        """Read all of it: SQLite notices damage only where it reads."""
        ((verdict, *_), *_) = self._run('PRAGMA quick_check')
        if verdict != 'ok':
            raise sqlite3.DatabaseError(str(verdict))
        self._jobs('SELECT * FROM jobs')

    def close(self) -> None:
        """Unlock the table."""
        with self._lock:
            self._database.close()

    def _run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _jobs(self, statement: str, *values: Any) -> list[Job]:
        """The jobs that a statement selects; it must select all columns."""
        with self._lock:
            cursor = self._database.execute(statement, values)
            names = [column[0] for column in cursor.description]
            return [_job(dict(zip(names, one))) for one in cursor.fetchall()]

    def add(self, job_id: str, suffix: str, size: int) -> Job:
        """Add a job at the end of the queue."""
        self._run(
            'INSERT INTO jobs (id, suffix, state, size, created) '
            'VALUES (?, ?, ?, ?, ?)',
            *(job_id, suffix, QUEUED, size, time.time()),
        )
        job = self.get(job_id)
        assert job is not None
        return job

    def get(self, job_id: str) -> Job | None:
        """The job with an id; None if there is none."""
        with suppress(UnicodeEncodeError):  # invalid Unicode is not an id
            for job in self._jobs('SELECT * FROM jobs WHERE id = ?', job_id):
                return job
        return None

    def start_next(self) -> Job | None:
        """Mark the first queued job as running; None if the queue is empty."""
        started = self._jobs(
            'UPDATE jobs SET state = ?, started = ?, starts = starts + 1 '
            'WHERE number = (SELECT min(number) FROM jobs WHERE state = ?) '
            'RETURNING *',
            *(RUNNING, time.time(), QUEUED),
        )
        return started[0] if started else None

    def put_back(self, job: Job) -> None:
        """Return a running job to the queue, without counting the start."""
        self._run(
            'UPDATE jobs SET state = ?, started = NULL, starts = starts - 1 '
            'WHERE id = ? AND state = ?',
            *(QUEUED, job.id, RUNNING),
        )

    def finish(
        self,
        job: Job,
        *,
        detections: int,
        files: Mapping[str, Sequence[str]],
        size: int,
    ) -> None:
        """Mark a job as done."""
        self._run(
            'UPDATE jobs SET state = ?, ended = ?, detections = ?, '
            'files = ?, size = ? WHERE id = ?',
            *(DONE, time.time(), detections, json.dumps(dict(files)), size),
            job.id,
        )

    def fail(self, job: Job, error: str) -> None:
        """Mark a job as failed; its files no longer take disk space."""
        self._run(
            'UPDATE jobs SET state = ?, ended = ?, error = ?, size = 0 '
            'WHERE id = ?',
            *(FAILED, time.time(), error, job.id),
        )

    def resume(self, max_starts: int) -> list[Job]:
        """Return jobs to the queue that ran when the server was killed.

        Args:
            max_starts: Jobs that were started this often fail instead.

        Returns:
            The jobs that failed.
        """
        failed = []
        for job in self._jobs('SELECT * FROM jobs WHERE state = ?', RUNNING):
            if job.starts >= max_starts:
                self.fail(job, ENDED_TOO_OFTEN.format(starts=job.starts))
                failed.append(job)
        self._run(
            'UPDATE jobs SET state = ?, started = NULL WHERE state = ?',
            *(QUEUED, RUNNING),
        )
        return failed

    def remove(self, job_id: str) -> None:
        """Remove a job."""
        self._run('DELETE FROM jobs WHERE id = ?', job_id)

    def ids(self) -> set[str]:
        """Ids of all jobs."""
        return {job_id for (job_id,) in self._run('SELECT id FROM jobs')}

    def ended(self, before: float) -> list[Job]:
        """Jobs that ended before a time, oldest first."""
        return self._jobs(
            'SELECT * FROM jobs WHERE ended < ? ORDER BY ended', before
        )

    def ahead(self, job: Job) -> int:
        """Number of jobs ahead of a queued one, including the running one."""
        ((number,),) = self._run(
            'SELECT count(*) FROM jobs WHERE state = ? '
            'OR (state = ? AND number < ?)',
            *(RUNNING, QUEUED, job.number),
        )
        return number

    def counts(self) -> dict[str, int]:
        """Number of jobs in each state."""
        there = self._run('SELECT state, count(*) FROM jobs GROUP BY state')
        return {**dict.fromkeys(STATES, 0), **{s: n for s, n in there}}

    def size(self) -> int:
        """Bytes of all jobs on disk."""
        ((size,),) = self._run('SELECT coalesce(sum(size), 0) FROM jobs')
        return size

    def mean_seconds(self) -> float | None:
        """Mean duration of the last jobs; None if no job is done."""
        ((mean,),) = self._run(
            'SELECT avg(ended - started) FROM (SELECT * FROM jobs '
            'WHERE state = ? ORDER BY ended DESC LIMIT ?)',
            *(DONE, RECENT),
        )
        return mean


def _job(values: dict[str, Any]) -> Job:
    """A job of a row; SQLite columns may hold values of any type.

    Raises:
        KeyError, TypeError, ValueError: It is no job.
    """
    times = [values['started'], values['ended']]
    for known in (values['created'], *(t for t in times if t is not None)):
        number(known)
    counts = [values['size'], values['starts'], values['number']]
    for count in (*counts, values['detections'] or 0):
        if whole(count) < 0:
            raise ValueError(f'{count} is not a count')
    for name in ('id', 'suffix'):
        if '/' in inner_path(text(values[name])):
            raise ValueError(f'{values[name]!r:.60} is not the name of a file')
    if values['state'] not in STATES:
        raise ValueError(f'{values["state"]!r:.60} is not a state')
    if values['error'] is not None:
        text(values['error'])
    files = {
        name: [inner_path(text(one)) for one in items(of)]
        for name, of in keyed(json.loads(values['files'])).items()
    }
    return Job(**{**values, 'files': files})


def inner_path(path: str) -> str:
    """A path below a folder.

    Raises:
        ValueError: It is the folder, or may lead out of it.
    """
    parts = PurePosixPath(path).parts
    if (
        not parts
        or not path.isprintable()
        or '\\' in path
        or '..' in parts
        or PurePosixPath(path).is_absolute()
    ):
        raise ValueError(f'{path!r:.60} is not the name of a file')
    return path
