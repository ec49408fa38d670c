"""The routes, from the upload of a scan to the download of its result."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lungdet.serve.access import COOKIE
from lungdet.serve.service import Service
from tests.serve.scene import (
    client,
    client_of,
    finished,
    make_service,
    send,
    service,
)

__all__ = ['client', 'make_service', 'service']
TOKEN = 'correct-horse-battery'
BEARER = {'Authorization': f'Bearer {TOKEN}'}
UNKNOWN = (
    '0' * 32,
    'x',
    '%2e%2e%2fjobs.sqlite',
    '..%5c..%5cx',
    "'%20OR%201=1",
    '%00',
    '%ff',
    'a' * 5000,
)


def test_a_scan_from_its_upload_to_its_result(
    service: Service, client: TestClient
) -> None:
    sent = send(client).json()
    address = f'/v1/jobs/{sent["id"]}'
    assert (sent['state'], sent['ahead'], sent['results']) == ('queued', 0, {})
    early = client.get(f'{address}/results/json')
    assert early.status_code == 409 and 'queued' in early.json()['detail']

    finished(service, sent['id'], html='<p>report', json='{"a": 1}')

    job = client.get(address).json()
    assert (job['state'], job['detections'], job['ahead']) == ('done', 2, None)
    assert job['created'] <= job['started'] <= job['ended']
    assert {*job['results']} == {'html', 'json'}
    assert client.get(job['results']['json']).json() == {'a': 1}
    missing = client.get(f'{address}/results/nifti')
    assert missing.status_code == 404
    assert 'it has html, json' in missing.json()['detail']


def test_a_report_runs_in_an_origin_of_its_own(
    service: Service, client: TestClient
) -> None:
    job_id = send(client).json()['id']
    finished(service, job_id, html='<script>1</script>', dicom_seg='DICM')

    page = client.get(f'/v1/jobs/{job_id}/results/html')
    segments = client.get(f'/v1/jobs/{job_id}/results/dicom_seg')

    policy = page.headers['content-security-policy']
    assert policy.endswith('sandbox allow-scripts')
    assert "default-src 'none'" in policy
    assert page.headers['content-type'] == 'text/html; charset=utf-8'
    assert page.headers['content-disposition'].startswith('inline')
    assert segments.headers['content-type'] == 'application/dicom'
    assert segments.headers['content-disposition'] == (
        'attachment; filename="seg.dcm"'
    )


def test_a_file_of_a_further_format_is_sent(
    service: Service, client: TestClient
) -> None:
    job_id = send(client).json()['id']
    folder = finished(service, job_id, json='{}')
    (folder / 'count.txt').write_text('2')
    job = service.storage.jobs.get(job_id)
    assert job
    files = {'counts': ['count.txt']}
    service.storage.jobs.finish(job, detections=2, files=files, size=9)

    answer = client.get(f'/v1/jobs/{job_id}/results/counts')

    assert answer.headers['content-type'] == 'application/octet-stream'
    assert answer.headers['content-disposition'].startswith('attachment')
    assert answer.text == '2'


def test_several_files_of_a_format_are_a_zip(
    service: Service, client: TestClient
) -> None:
    job_id = send(client).json()['id']
    folder = finished(service, job_id, json='{}')
    (folder / 'rois').mkdir()
    names = ['marks.mrk.json', 'rois/nodule-001.mrk.json']
    for name in names:
        (folder / name).write_text(name)
    job = service.storage.jobs.get(job_id)
    assert job
    service.storage.jobs.finish(
        job, detections=1, files={'slicer': names}, size=9
    )

    answer = client.get(f'/v1/jobs/{job_id}/results/slicer')

    assert answer.headers['content-type'] == 'application/zip'
    assert 'slicer.zip' in answer.headers['content-disposition']
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == names
        assert archive.read(names[1]).decode() == names[1]


def test_a_deleted_job_is_gone(service: Service, client: TestClient) -> None:
    job_id = send(client).json()['id']
    finished(service, job_id, json='{}')

    assert client.delete(f'/v1/jobs/{job_id}').status_code == 204

    for path in ('', '/results/json'):
        assert client.get(f'/v1/jobs/{job_id}{path}').status_code == 404
    assert not service.storage.folder(job_id).exists()
    assert client.delete(f'/v1/jobs/{job_id}').status_code == 404


def test_a_result_that_is_being_deleted_is_not_there(
    service: Service, client: TestClient
) -> None:
    job_id = send(client).json()['id']
    folder = finished(service, job_id, json='{}')
    (folder / 'result.json').unlink()

    answer = client.get(f'/v1/jobs/{job_id}/results/json')

    assert answer.status_code == 404


@pytest.mark.parametrize('job_id', UNKNOWN)
def test_unknown_ids(client: TestClient, job_id: str) -> None:
    address = f'/v1/jobs/{job_id}'
    for path in (address, f'{address}/results/json', f'{address}/results/%2e'):
        got, head = client.get(path), client.head(path)
        assert (got.status_code, head.status_code) == (404, 404)
        assert head.content == b''
        assert got.headers['content-type'] == 'application/problem+json'
    assert client.delete(address).status_code == 404


@pytest.mark.parametrize(
    ('method', 'path', 'status'),
    [
        ('GET', '/v1/jobs', 405),
        ('PUT', '/v1/jobs', 405),
        ('POST', '/', 405),
        ('GET', '/docs', 404),
        ('GET', '/redoc', 404),
        ('GET', '/static/../jobs.sqlite', 404),
        ('GET', '//evil.example/%2e%2e', 404),
    ],
)
def test_other_paths_and_methods(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == status
    assert answer.json()['status'] == status
    assert path not in answer.text or path == '/'


def test_head_of_what_is_there(service: Service, client: TestClient) -> None:
    job_id = send(client).json()['id']
    finished(service, job_id, json='{"a": 1}')

    for path in ('/', '/healthz', f'/v1/jobs/{job_id}/results/json'):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b'')
        assert head.headers['content-length'] == got.headers['content-length']


def test_without_the_token_there_is_only_the_page(service: Service) -> None:
    client = client_of(service, TOKEN, host='ct.example')
    for path in ('/', '/healthz', '/v1/session'):
        assert client.get(path).status_code == 200
    closed: tuple[tuple[str, str], ...] = (
        ('GET', '/metrics'),
        ('GET', '/openapi.json'),
        ('POST', '/v1/jobs'),
        ('GET', '/v1/jobs/x'),
        ('DELETE', '/v1/jobs/x'),
        ('GET', '/v1/jobs/x/results/json'),
        ('GET', '/nothing'),
    )
    for method, path in closed:
        for headers in ({}, {'Authorization': f'Bearer {TOKEN}x'}):
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 401, path
        known = client.request(method, path, headers=BEARER)
        assert known.status_code != 401
    assert not service.storage.jobs.ids()


def test_a_browser_gets_a_cookie_for_the_token(service: Service) -> None:
    client = client_of(service, TOKEN, host='ct.example')
    assert client.get('/v1/session').json() == {'unlocked': False}
    wrong = client.post(
        '/v1/session', headers={'Authorization': 'Bearer wrong'}
    )
    assert wrong.status_code == 401 and not client.cookies

    answer = client.post('/v1/session', headers=BEARER)

    assert answer.status_code == 204
    sent = answer.headers['set-cookie'].lower()
    assert 'httponly' in sent and 'samesite=strict' in sent
    assert TOKEN not in sent and client.cookies[COOKIE]
    assert client.get('/v1/session').json() == {'unlocked': True}
    assert send(client).status_code == 202


def test_a_cookie_of_https_stays_there(service: Service) -> None:
    client = client_of(service, TOKEN)
    client.base_url = 'https://localhost'  # type: ignore[assignment]

    answer = client.post('/v1/session', headers=BEARER)

    assert 'secure' in answer.headers['set-cookie'].lower()


def test_health(service: Service, client: TestClient) -> None:
    assert client.get('/healthz').json()['status'] == 'ok'

    service.supervisor.defect = 'OperationalError'

    answer = client.get('/healthz')
    assert answer.status_code == 503
    assert answer.json()['defect'] == 'OperationalError'


def test_nothing_that_a_client_sends_is_told(
    service: Service, client: TestClient
) -> None:
    told: list[str] = []
    object.__setattr__(service, 'tell', told.append)
    send(client, b'DOE^JOHN', name='DOE^JOHN.mha')
    send(client, b'x', name='DOE.exe')
    client.get('/v1/jobs/DOE?name=DOE', headers={'User-Agent': 'DOE'})

    assert len(told) == 1 and 'DOE' not in told[0]


def test_the_openapi_description(client: TestClient) -> None:
    schema: dict[str, Any] = client.get('/openapi.json').json()

    assert schema['openapi'].startswith('3.')
    paths = schema['paths']
    assert {(path, method) for path in paths for method in paths[path]} == {
        ('/healthz', 'get'),
        ('/metrics', 'get'),
        ('/v1/session', 'get'),
        ('/v1/session', 'post'),
        ('/v1/jobs', 'post'),
        ('/v1/jobs/{job_id}', 'get'),
        ('/v1/jobs/{job_id}', 'delete'),
        ('/v1/jobs/{job_id}/results/{name}', 'get'),
    }
    posted = paths['/v1/jobs']['post']
    form = posted['requestBody']['content']['multipart/form-data']['schema']
    assert form['properties']['scan']['format'] == 'binary'
    assert {'202', '400', '408', '413', '415', '429', '507'} <= {
        *posted['responses']
    }
    described = schema['components']['schemas']['JobView']['properties']
    job = send(client).json()
    assert {*job} == {*described}
    for path in paths.values():
        for operation in path.values():
            assert operation.get('summary') and operation['operationId']
