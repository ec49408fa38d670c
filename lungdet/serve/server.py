"""Starting and stopping the server."""

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

PORTS = range(1 << 16)
CONNECTIONS = 500  # at a time; further requests get 503
GOODBYE_SECONDS = 5  # on shutdown, to finish running requests


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
        detector: How to build the detector.
        limits: Limits of jobs.
        host: Host name or address to listen on.
        port: Port to listen on; 0 for any free one.
        token: Token that clients must send; None is allowed on a loopback
            address only.
        tell: Called with a log line about each event, which contains only
            ids and numbers.

    Raises:
        ConfigError: Other machines can reach the address and there is no
            token, there is no such port, another server uses the folder, or
            the detector cannot be loaded.
        OSError: The folder cannot be written to, or the port is in use.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f'--host {host}: other machines can reach it, so clients must '
            'have a token; set LUNGDET_TOKEN, or give --token-file.'
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
                log_config=None,  # would log the addresses of clients
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
    """Run the service of a folder for the duration of a block.

    Args:
        root: Folder for jobs and results.
        detector: How to build the detector.
        limits: Limits of jobs.
        tell: As in ``serve``.

    Raises:
        ConfigError: Another server uses the folder, or the detector cannot be
            loaded.
        OSError: The folder cannot be written to.
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
    """A listening socket, closed when the block ends.

    Args:
        host: Host name or address.
        port: Port; 0 for any free one.

    Raises:
        ConfigError: There is no such port.
        OSError: The address is in use or invalid.
    """
    if port not in PORTS:  # the system would take its last 16 bits
        raise ConfigError(
            f'--port {port}: a port is a number from 0 to {PORTS[-1]}; choose '
            'another one.'
        )
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
