"""Disk space of jobs: what is refused, and when files are deleted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lungdet.errors import ConfigError
from lungdet.serve import storage as storage_module
from lungdet.serve.jobs import Job
from lungdet.serve.limits import Refusal
from lungdet.serve.service import Service
from lungdet.serve.storage import FRESH_SECONDS, JobStorage
from tests.serve.scene import LIMITS, Make, make_service, service

__all__ = ['make_service', 'service']


def stored(storage: JobStorage, size: int) -> Job:
    with storage.reserved(size) as kept:
        (kept.folder / 'scan.mha').write_bytes(bytes(size))
        return storage.accept(kept, '.mha', size)


def done(storage: JobStorage, size: int) -> Job:
    """A finished job with a result of this size."""
    stored(storage, 1)
    job = storage.jobs.start_next()
    assert job is not None
    storage.result(job.id).mkdir()
    (storage.result(job.id) / 'result.json').write_bytes(bytes(size))
    storage.finish(job, detections=0, files={'json': ['result.json']})
    return job


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob('*')}


def test_room_is_counted_before_and_after_a_scan_has_come(
    service: Service,
) -> None:
    storage = service.storage
    with storage.reserved(150) as kept:
        assert storage.size() == 150
        (kept.folder / 'scan.mha').write_bytes(bytes(100))
        job = storage.accept(kept, '.mha', 100)
        assert storage.size() == 100

    assert storage.scan(job).read_bytes() == bytes(100)
    assert storage.jobs.get(job.id) == job


def test_a_scan_that_did_not_come_leaves_nothing(service: Service) -> None:
    with pytest.raises(ZeroDivisionError):
        with service.storage.reserved(150) as kept:
            (kept.folder / 'scan.mha').write_bytes(b'half')
            raise ZeroDivisionError

    assert service.storage.size() == 0
    assert names(service.storage.root / 'jobs') == set()


def test_only_the_result_of_a_job_that_has_ended_is_kept(
    service: Service,
) -> None:
    storage = service.storage
    good, bad = stored(storage, 10), stored(storage, 20)
    for _ in (good, bad):
        running = storage.jobs.start_next()
        assert running
        storage.work_folder(running).mkdir()
        (storage.work_folder(running) / 'half').write_text('x')
    storage.result(good.id).mkdir()
    (storage.result(good.id) / 'result.json').write_bytes(bytes(5))

    storage.finish(good, detections=1, files={'json': ['result.json']})
    storage.fail(bad, 'no air')

    assert names(storage.folder(good.id)) == {'result', 'result/result.json'}
    assert names(storage.folder(bad.id)) == set()
    assert storage.size() == 5


def test_too_large_a_scan_is_refused(service: Service) -> None:
    with pytest.raises(Refusal, match='the limit is 200 kB') as caught:
        with service.storage.reserved(200_001):
            pass

    assert caught.value.status == 413


def test_scans_that_are_being_sent_wait_too(make_service: Make) -> None:
    storage = make_service(waiting_jobs=2).storage
    stored(storage, 10)

    with storage.reserved(10), pytest.raises(Refusal) as caught:
        with storage.reserved(10):
            pass

    assert caught.value.status == 429
    assert caught.value.headers == {'Retry-After': '30'}
    assert '2 jobs are waiting' in str(caught.value)
    stored(storage, 10)


def test_old_results_give_way_and_fresh_ones_do_not(
    make_service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_service(disk_bytes=1000).storage
    old, new = done(storage, 400), done(storage, 400)

    with pytest.raises(Refusal, match='not enough disk space for 3') as caught:
        with storage.reserved(300):
            pass
    assert caught.value.status == 507
    assert storage.jobs.ids() == {old.id, new.id}

    later = time.time() + FRESH_SECONDS + 1
    monkeypatch.setattr(storage_module.time, 'time', lambda: later)
    with storage.reserved(300):
        assert storage.jobs.ids() == {new.id}  # the oldest is enough
        assert names(storage.root / 'jobs') >= {new.id}
        assert old.id not in names(storage.root / 'jobs')


def test_waiting_jobs_are_not_deleted_to_make_room(
    make_service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_service(disk_bytes=1000).storage
    job = stored(storage, 900)
    later = time.time() + 1e6
    monkeypatch.setattr(storage_module.time, 'time', lambda: later)

    with pytest.raises(Refusal) as caught, storage.reserved(300):
        pass

    assert caught.value.status == 507 and storage.jobs.get(job.id)


def test_the_disk_is_not_filled(
    make_service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_service(free_bytes=1000).storage
    usage = SimpleNamespace(free=1250)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)

    with storage.reserved(200), pytest.raises(Refusal) as caught:
        with storage.reserved(100):
            pass

    assert caught.value.status == 507


def test_jobs_are_deleted_when_they_have_been_kept_long_enough(
    make_service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_service(keep_seconds=100).storage
    job = done(storage, 10)
    waiting = stored(storage, 10)
    now = time.time()
    monkeypatch.setattr(storage_module.time, 'time', lambda: now + 99)
    assert storage.expire() == []

    monkeypatch.setattr(storage_module.time, 'time', lambda: now + 101)

    assert [one.id for one in storage.expire()] == [job.id]
    assert storage.jobs.ids() == {waiting.id}
    assert names(storage.root / 'jobs') == {
        waiting.id,
        f'{waiting.id}/scan.mha',
    }


def test_a_new_server_keeps_the_jobs_and_deletes_other_files(
    tmp_path: Path,
) -> None:
    first = JobStorage(tmp_path, LIMITS)
    job, waiting = stored(first, 10), stored(first, 20)
    assert first.jobs.start_next() == first.jobs.get(job.id)
    (tmp_path / 'jobs' / ('0' * 32)).mkdir()
    (tmp_path / 'jobs' / ('0' * 32) / 'scan.mha').write_text('half')
    (tmp_path / 'jobs' / 'file').write_text('x')
    first.close()

    second = JobStorage(tmp_path, LIMITS)

    assert {p.name for p in (tmp_path / 'jobs').iterdir()} == {
        job.id,
        waiting.id,
    }
    again = second.jobs.start_next()
    assert again and (again.id, again.starts) == (job.id, 2)
    assert second.work_folder(again).name == 'start-2'
    second.close()


def test_a_job_that_was_started_too_often_leaves_no_scan(
    tmp_path: Path,
) -> None:
    for _ in range(LIMITS.starts):
        storage = JobStorage(tmp_path, LIMITS)
        if not storage.jobs.ids():
            job = stored(storage, 10)
        assert storage.jobs.start_next()
        storage.close()

    storage = JobStorage(tmp_path, LIMITS)

    ended = storage.jobs.get(job.id)
    assert ended and ended.state == 'failed'
    assert names(storage.folder(job.id)) == set()
    storage.close()


@pytest.mark.parametrize('change', [Path.unlink, lambda p: p.write_bytes(b'')])
def test_results_without_their_table_are_kept(
    tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    storage = JobStorage(tmp_path, LIMITS)
    job = done(storage, 5)
    storage.close()
    change(tmp_path / 'jobs.sqlite')

    with pytest.raises(ConfigError, match='jobs.sqlite: is missing or empty'):
        JobStorage(tmp_path, LIMITS)

    assert (tmp_path / 'jobs' / job.id / 'result' / 'result.json').is_file()


def test_scans_without_their_table_are_kept(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path, LIMITS)
    job = stored(storage, 10)
    storage.close()
    (tmp_path / 'jobs.sqlite').unlink()

    with pytest.raises(ConfigError, match='jobs.sqlite: is missing or empty'):
        JobStorage(tmp_path, LIMITS)

    assert names(tmp_path / 'jobs' / job.id) == {'scan.mha'}


def test_results_of_jobs_that_are_not_done_are_deleted(tmp_path: Path) -> None:
    """A server that was killed did not note them."""
    first = JobStorage(tmp_path, LIMITS)
    kept, job = done(first, 5), stored(first, 10)
    running = first.jobs.start_next()
    assert running and running.id == job.id
    first.work_folder(running).mkdir()
    first.result(job.id).mkdir()
    (first.result(job.id) / 'result.json').write_text('new')
    first.close()

    second = JobStorage(tmp_path, LIMITS)

    assert names(second.folder(kept.id)) == {'result', 'result/result.json'}
    assert names(second.folder(job.id)) == {'scan.mha', 'start-1'}
    again = second.jobs.start_next()
    assert again and again.id == job.id
    second.result(job.id).mkdir()
    second.fail(again, 'no air')
    assert names(second.folder(job.id)) == set()
    second.close()
