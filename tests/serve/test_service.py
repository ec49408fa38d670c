"""What clients see of a job before, during and after its run."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lungdet.serve.service import Service
from lungdet.serve.supervisor import JobProgress
from tests.serve.scene import (
    client_of,
    finished,
    make_service,
    send,
    service,
)

__all__ = ['make_service', 'service']


def view(service: Service, job_id: str) -> dict[str, Any]:
    job = service.storage.jobs.get(job_id)
    assert job
    return service.view(job)


def test_the_queue_is_told_with_a_guess(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(service)
    ids = [send(client).json()['id'] for _ in range(3)]
    assert [view(service, i)['ahead'] for i in ids] == [0, 1, 2]
    assert view(service, ids[2])['seconds_left'] is None

    monkeypatch.setattr(service.storage.jobs, 'mean_seconds', lambda: 8.0)

    assert [view(service, i)['seconds_left'] for i in ids] == [8, 16, 24]


def test_windows_belong_to_the_job_that_is_worked_on(service: Service) -> None:
    client = client_of(service)
    first, second = (send(client).json()['id'] for _ in range(2))
    assert service.storage.jobs.start_next()

    service.supervisor.progress = JobProgress(
        first, time.monotonic() - 10, 5, 10, 20
    )

    seen_by_first, waiting = view(service, first), view(service, second)
    assert (seen_by_first['windows_done'], waiting['windows_done']) == (
        10,
        None,
    )
    assert seen_by_first['seconds_left'] == pytest.approx(20, rel=0.05)
    assert waiting['ahead'] == 1


def test_addresses_of_results(service: Service) -> None:
    job_id = send(client_of(service)).json()['id']
    finished(service, job_id, html='', json='{}')

    assert view(service, job_id)['results'] == {
        name: f'/v1/jobs/{job_id}/results/{name}' for name in ('html', 'json')
    }
    assert view(service, job_id)['ended'].endswith('+00:00')


def test_health_names_the_defect(service: Service) -> None:
    assert service.health()['status'] == 'ok'
    service.supervisor.defect = 'OSError'
    assert service.health()['status'] == 'failed'
