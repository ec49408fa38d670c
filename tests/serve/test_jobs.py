"""The queue in SQLite: its order, restarts, and exclusive use."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lungdet.errors import ConfigError
from lungdet.serve.jobs import DONE, FAILED, QUEUED, RUNNING, Job, JobTable


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    made = JobTable(tmp_path / 'jobs.sqlite')
    yield made
    made.close()


def started(table: JobTable) -> Job:
    job = table.start_next()
    assert job is not None
    return job


def state(table: JobTable, job_id: str) -> str:
    job = table.get(job_id)
    assert job is not None
    return job.state


def test_jobs_start_in_order_of_arrival(table: JobTable) -> None:
    for name in 'cab':
        table.add(name, '.mha', 10)
    c, a, b = (table.get(name) for name in 'cab')
    assert c and a and b
    assert [table.ahead(job) for job in (c, a, b)] == [0, 1, 2]

    assert started(table).id == 'c'

    assert [table.ahead(job) for job in (a, b)] == [1, 2]
    assert table.counts() == {QUEUED: 2, RUNNING: 1, DONE: 0, FAILED: 0}
    assert [started(table).id, started(table).id] == ['a', 'b']
    assert table.start_next() is None


def test_a_job_tells_how_it_went(table: JobTable) -> None:
    before = time.time()
    table.add('a', '.nii.gz', 10)
    table.add('b', '.zip', 20)
    assert table.size() == 30 and table.mean_seconds() is None

    table.finish(
        started(table), detections=3, files={'json': ['result.json']}, size=7
    )
    table.fail(started(table), 'no air')

    done, failed = table.get('a'), table.get('b')
    assert done and failed
    assert (done.state, done.detections, done.size) == (DONE, 3, 7)
    assert done.files == {'json': ['result.json']}
    assert done.started and done.ended
    assert before <= done.created <= done.started <= done.ended <= time.time()
    assert (failed.state, failed.error, failed.size) == (FAILED, 'no air', 0)
    assert failed.files == {}
    assert table.size() == 7 and table.mean_seconds() is not None
    assert [job.id for job in table.ended(time.time() + 1)] == ['a', 'b']
    assert table.ended(before) == []


def test_a_job_of_a_killed_server_starts_again_but_not_for_ever(
    tmp_path: Path,
) -> None:
    for starts in (1, 2, 3):
        table = JobTable(tmp_path / 'jobs.sqlite')
        failed = table.resume(max_starts=3)
        if starts == 1:
            for name in 'ab':
                table.add(name, '.mha', 10)
        assert failed == [] and started(table).id == 'a'
        table.close()  # while the job runs, as when a server is killed

    table = JobTable(tmp_path / 'jobs.sqlite')
    (job,) = table.resume(max_starts=3)

    ended = table.get('a')
    assert job.id == 'a' and ended
    assert ended.state == FAILED and 'started 3 times' in (ended.error or '')
    assert started(table).id == 'b'
    table.close()


def test_a_job_that_is_put_back_counts_no_start(table: JobTable) -> None:
    for name in 'ab':
        table.add(name, '.mha', 10)
    job = started(table)

    table.put_back(job)

    assert (started(table).id, job.starts) == ('a', 1)
    a = table.get('a')
    assert a and a.starts == 1


def test_a_job_that_was_removed_is_not_put_back(table: JobTable) -> None:
    table.add('a', '.mha', 10)
    job = started(table)

    table.remove('a')
    table.put_back(job)

    assert table.get('a') is None and table.ids() == set()


@pytest.mark.parametrize(
    'job_id', ['', "' OR 1=1 --", '../../etc/passwd', '\ud800', 'a\0b', '%']
)
def test_an_id_is_a_value(table: JobTable, job_id: str) -> None:
    table.add('a', '.mha', 10)

    assert table.get(job_id) is None


def test_two_servers_do_not_have_one_table(
    table: JobTable, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match='another server uses it'):
        JobTable(tmp_path / 'jobs.sqlite')


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'text').write_text('no table, but long enough ' * 40)
    database = sqlite3.connect(tmp_path / 'later')
    database.execute('PRAGMA user_version = 2')
    database.close()

    for name, reason in (('text', 'not a database'), ('later', 'version 2')):
        with pytest.raises(ConfigError, match=reason):
            JobTable(tmp_path / name)


@pytest.mark.parametrize(
    ('column', 'value', 'reason'),
    [
        ('files', '[', 'Expecting value'),
        ('files', '{"json": ["../../x"]}', "'../../x' is not the name of"),
        ('files', '{"json": [""]}', "'' is not the name of a file"),
        ('suffix', '/../x', 'is not the name of a file'),
        ('id', '.', "'.' is not the name of a file"),  # the folder of all
        ('state', 'lost', "'lost' is not a state"),
        ('size', 'large', "'large' is not a whole number"),
        ('created', b'\xff', 'is not a number'),
        ('starts', -1, '-1 is not a count'),
    ],
)
def test_jobs_that_another_program_wrote_are_refused(
    table: JobTable, tmp_path: Path, column: str, value: Any, reason: str
) -> None:
    table.add('a', '.mha', 10)
    table.close()
    database = sqlite3.connect(tmp_path / 'jobs.sqlite')
    database.execute(f'UPDATE jobs SET {column} = ?', (value,))
    database.commit()
    database.close()

    with pytest.raises(ConfigError, match=f'as a job table .*{reason}'):
        JobTable(tmp_path / 'jobs.sqlite')


def test_damaged_pages_are_noticed_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / 'jobs.sqlite'
    table = JobTable(path)
    for number in range(300):
        table.add(f'{number:032x}', '.mha', 10)
    table.close()
    content = bytearray(path.read_bytes())
    page = 4096 * 3
    content[page : page + 200] = bytes(200)
    path.write_bytes(content)

    with pytest.raises(ConfigError, match='cannot be used as a job table'):
        JobTable(path)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='not a regular file'):
        JobTable(tmp_path)
