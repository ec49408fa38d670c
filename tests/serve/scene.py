"""A service without a worker, and clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lungdet.apis.detector_options import DetectorOptions
from lungdet.serve.access import Access
from lungdet.serve.app import create_app
from lungdet.serve.limits import Limits
from lungdet.serve.service import Service
from lungdet.serve.storage import JobStorage
from lungdet.serve.supervisor import Supervisor

LIMITS = Limits(
    upload_bytes=200_000, disk_bytes=1_000_000, free_bytes=1, waiting_jobs=8
)
Make = Callable[..., Service]


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Make]:
    """Creates services whose jobs stay queued, since there is no worker."""
    made: list[Service] = []

    def make(folder: str = 'out', **limits: Any) -> Service:
        storage = JobStorage(tmp_path / folder, replace(LIMITS, **limits))
        told: list[str] = []
        supervisor = Supervisor(storage, DetectorOptions(), told.append)
        made.append(Service(storage, supervisor, tell=told.append))
        return made[-1]

    yield make
    for one in made:
        one.supervisor.stop()
        one.storage.close()


@pytest.fixture
def service(make_service: Make) -> Service:
    return make_service()


def client_of(
    service: Service, token: str | None = None, host: str = 'localhost'
) -> TestClient:
    app = create_app(service, Access(token))
    return TestClient(app, base_url=f'http://{host}')


@pytest.fixture
def client(service: Service) -> TestClient:
    return client_of(service)


def send(
    client: TestClient, content: bytes = b'scan', name: str = 'a.mha'
) -> Any:
    return client.post('/v1/jobs', files={'scan': (name, content)})


def finished(service: Service, job_id: str, **files: str) -> Path:
    """Finish a queued job with a result: the text of each file, by format."""
    storage = service.storage
    job = storage.jobs.start_next()
    assert job is not None and job.id == job_id
    folder = storage.result(job_id)
    folder.mkdir()
    names = {
        'html': 'report.html',
        'json': 'result.json',
        'dicom_seg': 'seg.dcm',
    }
    for name, text in files.items():
        (folder / names[name]).write_text(text)
    storage.finish(
        job, detections=2, files={name: [names[name]] for name in files}
    )
    return folder
