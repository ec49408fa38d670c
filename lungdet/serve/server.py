"""A server from its start to its end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn

from lungdet.apis.detector_options import DetectorOptions
from lungdet.errors import ConfigError
from lungdet.serve.access import Access, is_loopback
from lungdet.serve.app import create_app
from lungdet.serve.limits import Limits
from lungdet.serve.service import Service
from lungdet.serve.storage import JobStorage
from lungdet.serve.supervisor import Supervisor

CONNECTIONS = 500  # at a time; more get 503
GOODBYE_SECONDS = 5  # for requests that are being answered


def serve(
    root: Path,
    detector: DetectorOptions,
    limits: Limits,
    *,
    host: str,
    port: int,
    token: str | None,
    tell: Callable[[str], None],
) -> None:
    """Take scans until a signal ends it.

    Args:
        root: Folder for jobs and results.
        detector: What finds nodules.
        limits: What jobs may take.
        host: Name or address to listen at.
        port: The same; 0 for any that is free.
        token: That clients must send; None only on this machine.
        tell: Gets a line about each event; ids and numbers only.

    Raises:
        ConfigError: Another address without a token, another server in the
            folder, or a detector that cannot be loaded.
        OSError: The folder cannot be written to, or the port is taken.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f'--host {host}: others can reach it, so clients must have a '
            'token; set LUNGDET_TOKEN, or give --token-file.'
        )
    access = Access(token)
    with (
        listening(host, port) as listener,
        running(root, detector, limits, tell) as service,
    ):
        name = f'[{host}]' if ':' in host else host
        tell(f'serving at http://{name}:{listener.getsockname()[1]}/')
        uvicorn.Server(
            uvicorn.Config(
                create_app(service, access),
                log_config=None,  # addresses of requests are nobody's business
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=GOODBYE_SECONDS,
                lifespan='off',
                ws='none',
            )
        ).run([listener])


@contextmanager
def running(
    root: Path,
    detector: DetectorOptions,
    limits: Limits,
    tell: Callable[[str], None],
) -> Iterator[Service]:
    """The jobs of a folder, being worked on.

    Args:
        root: As ``serve``, like the others.
        detector: What finds nodules.
        limits: What jobs may take.
        tell: Gets lines.

    Raises:
        Errors as ``serve``.
    """
    with closing(JobStorage(root, limits)) as storage:
        supervisor = Supervisor(storage, detector, tell)
        try:
            supervisor.start()
            yield Service(storage, supervisor, tell=tell)
        finally:
            supervisor.stop()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at an address.

    Args:
        host: Name or address.
        port: 0 for any that is free.

    Raises:
        OSError: It cannot be listened at.
    """
    try:
        (kind, *_, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )
        listener = socket.create_server(address[:2], family=kind)
    except OSError as error:
        raise OSError(
            f'--host {host} --port {port}: cannot listen there '
            f'({error.strerror}); choose another port or address.'
        ) from error
    with listener:
        yield listener
