"""The HTTP routes: upload a scan, query its job, download the results."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import lungdet
from lungdet.report.html.page import POLICY
from lungdet.serve.access import COOKIE, Access
from lungdet.serve.gate import Gate, internal_problem, problem
from lungdet.serve.jobs import DONE, Job
from lungdet.serve.limits import Refusal
from lungdet.serve.metrics import CONTENT_TYPE
from lungdet.serve.page import page_and_policy
from lungdet.serve.service import Service
from lungdet.serve.uploads import receive_scan
from lungdet.serve.views import (
    REFUSALS,
    UPLOAD_SCHEMA,
    Health,
    JobView,
    Problem,
    Session,
)

MEDIA_TYPES = {
    '.json': 'application/json',
    '.csv': 'text/csv; charset=utf-8',
    '.gz': 'application/gzip',
    '.png': 'image/png',
    '.html': 'text/html; charset=utf-8',
    '.dcm': 'application/dicom',
}
UNKNOWN = 'application/octet-stream'  # of a file of another format
# displayed in the browser; other files are downloaded
SHOWN = ('.html', '.png', '.json')
# a report may run its scripts, but in an opaque origin, without access to
# this server
REPORT_POLICY = f'{POLICY}; sandbox allow-scripts'


def create_app(service: Service, access: Access) -> ASGIApp:
    """Create the ASGI application.

    Args:
        service: Jobs, worker and metrics.
        access: Access rules.
    """
    app = FastAPI(
        title='lungdet',
        version=lungdet.__version__,
        description='Lung nodules in chest CT. Research use only.',
        docs_url=None,  # both pages load scripts from other sites
        redoc_url=None,
    )
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(Exception, internal_problem)
    add_pages(app, service, access)
    add_jobs(app, service)
    add_results(app, service)
    return Gate(app, access, service.counts, service.tell)


def add_pages(app: FastAPI, service: Service, access: Access) -> None:
    """Add the routes that do not concern jobs.

    Args:
        app: Application to add them to.
        service: Jobs, worker and metrics.
        access: Access rules.
    """
    page, policy = page_and_policy(service.storage.limits)

    @app.get('/', include_in_schema=False)
    def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={'Content-Security-Policy': policy})

    @app.get('/healthz', responses={503: {'model': Health}})
    def health(response: Response) -> Health:
        """Whether jobs can be run."""
        state = Health(**service.health())
        if state.status != 'ok':
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return state

    @app.get('/metrics', response_class=PlainTextResponse)
    def metrics() -> Response:
        """Metrics in the Prometheus text format."""
        return Response(service.metrics(), media_type=CONTENT_TYPE)

    @app.get('/v1/session')
    def show_session(request: Request) -> Session:
        """Whether the request has the token or the session cookie."""
        return Session(unlocked=access.knows(request.headers))

    @app.post('/v1/session', status_code=204, responses=_problems(401))
    def open_session(request: Request) -> Response:
        """Exchange the token for a session cookie, which browsers send when
        they follow links."""
        if not access.knows(request.headers):
            raise Refusal(HTTPStatus.UNAUTHORIZED, 'the token is wrong.')
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        if access.needs_token:
            response.set_cookie(
                COOKIE,
                access.cookie(),
                httponly=True,
                samesite='strict',
                secure=request.url.scheme == 'https',
            )
        return response


def add_jobs(app: FastAPI, service: Service) -> None:
    """Add the routes of jobs.

    Args:
        app: Application to add them to.
        service: Jobs, worker and metrics.
    """

    @app.post(
        '/v1/jobs',
        status_code=202,
        response_model=JobView,
        responses=_problems(*REFUSALS),
        openapi_extra=UPLOAD_SCHEMA,
    )
    async def send_scan(request: Request, response: Response) -> Any:
        """Upload a scan; its job is queued."""
        job = await receive_scan(request, service.storage)
        service.taken(job)
        response.headers['Location'] = f'/v1/jobs/{job.id}'
        return service.view(job)

    @app.get(
        '/v1/jobs/{job_id}', response_model=JobView, responses=_problems(404)
    )
    def show_job(job_id: str) -> Any:
        """State and progress of a job."""
        return service.view(_job(service, job_id))

    @app.delete('/v1/jobs/{job_id}', status_code=204, responses=_problems(404))
    def delete_job(job_id: str) -> Response:
        """Delete a job with its scan and result, even while it runs."""
        service.supervisor.remove(_job(service, job_id))
        return Response(status_code=HTTPStatus.NO_CONTENT)


def add_results(app: FastAPI, service: Service) -> None:
    """Add the route of results.

    Args:
        app: Application to add it to.
        service: Jobs, worker and metrics.
    """

    @app.get(
        '/v1/jobs/{job_id}/results/{name}',
        response_class=Response,
        responses=_problems(404, 409),
    )
    def fetch_result(job_id: str, name: str) -> Response:
        """The result in one format, such as json, html or nifti. A format
        with several files is sent as a zip."""
        job = _job(service, job_id)
        if job.state != DONE:
            raise Refusal(
                HTTPStatus.CONFLICT,
                f'the job is {job.state}; it has results when it is done.',
            )
        if name not in job.files:
            raise Refusal(
                HTTPStatus.NOT_FOUND,
                'the job has no result in this format; it has '
                f'{", ".join(job.files)}.',
            )
        folder, files = service.storage.result(job.id), job.files[name]
        try:
            if len(files) == 1:
                return _file(folder / files[0])
            return _zip(folder, files, f'{name}.zip')
        except FileNotFoundError as error:  # deleted meanwhile
            raise _unknown() from error


def _file(path: Path) -> Response:
    """Response with a file of a result."""
    path.stat()
    is_page = path.suffix == '.html'
    return FileResponse(
        path,
        media_type=MEDIA_TYPES.get(path.suffix, UNKNOWN),
        filename=path.name,
        content_disposition_type='inline'
        if path.suffix in SHOWN
        else 'attachment',
        headers={'Content-Security-Policy': REPORT_POLICY}
        if is_page
        else None,
    )


def _zip(folder: Path, files: Sequence[str], name: str) -> Response:
    """Response with several small files as one zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(folder / file, file)
    return Response(
        packed.getvalue(),
        media_type='application/zip',
        headers={'Content-Disposition': f'attachment; filename="{name}"'},
    )


def _job(service: Service, job_id: str) -> Job:
    """The job with the id that a client sent.

    Raises:
        Refusal: There is no such job.
    """
    job = service.storage.jobs.get(job_id)
    if job is None:
        raise _unknown()
    return job


def _unknown() -> Refusal:
    return Refusal(
        HTTPStatus.NOT_FOUND,
        'no such job, or it was deleted; send the scan again.',
    )


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            'model': Problem,
            'description': REFUSALS.get(status, HTTPStatus(status).phrase),
        }
        for status in statuses
    }


def _http_problem(request: Request, error: Exception) -> JSONResponse:
    """The response to a request with an unknown path or method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return problem(Refusal(status, f'{status.phrase.lower()}.', error.headers))


def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return problem(error)
