"""Start and end of a server."""

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

CONNECTIONS = 500  # at a time; others get 503
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
    """Serve until a signal arrives.

    Args:
        root: Folder for jobs and results.
        detector: What finds nodules.
        limits: What jobs may take.
        host: Name or address to listen at.
        port: Port to listen at; 0 for any free one.
        token: Token that clients must send; None only on this machine.
        tell: Called with a line about each event; ids and numbers only.

    Raises:
        ConfigError: No token at an address other machines can reach, another
            server in the folder, or a detector that cannot be loaded.
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
                log_config=None,  # would name who asked
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
    """The service of a folder, running while the block runs.

    Args:
        root: As ``serve``, like the others.
        detector: What finds nodules.
        limits: What jobs may take.
        tell: As ``serve``.

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
        port: Port, 0 for any free one.

    Raises:
        OSError: The address is taken or invalid.
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
