"""``lungdet serve``: find nodules in scans that are sent by HTTP."""

from __future__ import annotations

import argparse
import os
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lungdet.cli.infer_options import (
    add_model_options,
    add_selection_options,
    detector_of,
)
from lungdet.cli.options import positive_float, positive_int
from lungdet.errors import ConfigError, printable
from lungdet.io.files import open_or_pipe
from lungdet.threads import set_thread_number

if TYPE_CHECKING:
    from lungdet.serve.limits import Limits

TOKEN = 'LUNGDET_TOKEN'  # environment variable
MAX_TOKEN = 1 << 16  # bytes of its file that are read
MAX_PORT = 65535
LIBRARIES = ('fastapi', 'uvicorn', 'python_multipart')


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet serve``."""
    parser = commands.add_parser(
        'serve',
        help=serve.__doc__,
        allow_abbrev=False,  # else --token would stand for --token-file
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder for jobs and results; a restarted server continues with '
        'them',
    )
    add_address_options(parser)
    add_model_options(parser)
    add_selection_options(parser)
    add_limit_options(parser)
    parser.add_argument(
        '-q', '--quiet', action='store_true', help='print no events'
    )
    parser.set_defaults(run=serve)


def add_address_options(parser: argparse.ArgumentParser) -> None:
    """Options of the address and of access."""
    group = parser.add_argument_group('address')
    group.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (127.0.0.1: this machine only); any other '
        'one needs a token',
    )
    group.add_argument(
        '--port',
        type=port_number,
        default=8642,
        help='port to listen on (8642), 0 for any free one',
    )
    group.add_argument(
        '--token-file',
        type=Path,
        metavar='FILE',
        help='file with the token that clients must send (default: the '
        f'environment variable {TOKEN}, if it is set)',
    )


def port_number(text: str) -> int:
    """A TCP port or 0, for argparse."""
    number = int(text)
    if not 0 <= number <= MAX_PORT:
        raise argparse.ArgumentTypeError(
            f'{text} is no port; choose one from 0 to {MAX_PORT}'
        )
    return number


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Options of the limits of jobs."""
    group = parser.add_argument_group('limits')
    for name, default, text in (
        ('--max-upload', 1000, 'MB of one upload'),
        ('--max-disk', 20_000, 'MB of all scans and results'),
        ('--min-free', 1000, 'MB to leave free on the disk'),
        ('--max-seconds', 1800, 'duration of one job'),
        ('--keep-hours', 24, 'time until a result is deleted'),
    ):
        group.add_argument(
            name,
            type=positive_float,
            default=float(default),
            metavar='N',
            help=f'{text} ({default})',
        )
    group.add_argument(
        '--max-memory',
        type=positive_float,
        metavar='N',
        help='MB of data of the process that runs jobs, on POSIX systems '
        '(no limit)',
    )
    group.add_argument(
        '--max-jobs',
        type=positive_int,
        default=100,
        metavar='N',
        help='jobs that are queued, running or being uploaded (100)',
    )
    group.add_argument(
        '--max-starts',
        type=positive_int,
        default=3,
        metavar='N',
        help='starts of one job, if the server is killed while it runs (3)',
    )


def serve(args: argparse.Namespace) -> int:
    """Find nodules in scans that are sent by HTTP, from a browser or a
    program."""
    for library in LIBRARIES:
        if find_spec(library) is None:
            raise ConfigError(
                f'serve: needs {library}, which is not installed; run pip '
                "install 'lungdet[serve]'."
            )
    detector = detector_of(args)
    if args.threads is not None:
        set_thread_number(args.threads)
    from lungdet.serve.server import serve as run_server

    run_server(
        args.out,
        detector,
        limits_of(args),
        host=args.host,
        port=args.port,
        token=token_of(args.token_file),
        tell=(lambda text: None) if args.quiet else print_event,
    )
    return 0


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits that the options set."""
    from lungdet.serve.limits import HOUR, MB, Limits

    memory = args.max_memory
    return Limits(
        upload_bytes=int(args.max_upload * MB),
        waiting_jobs=args.max_jobs,
        job_seconds=args.max_seconds,
        memory_bytes=None if memory is None else int(memory * MB),
        disk_bytes=int(args.max_disk * MB),
        free_bytes=int(args.min_free * MB),
        keep_seconds=args.keep_hours * HOUR,
        starts=args.max_starts,
    )


def token_of(file: Path | None) -> str | None:
    """The token in a file or in the environment; None if there is none.

    The token itself is not an option, since other users can see command
    lines.

    Raises:
        ConfigError: The file is not ASCII text.
        OSError: The file cannot be read.
    """
    if file is None:
        return os.environ.get(TOKEN) or None
    opened, first = open_or_pipe(file, error=ConfigError)
    with opened as stream:
        content = first + stream.read(MAX_TOKEN)
    try:
        return content.decode('ascii').strip()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f'{file}: contains no token; a token is ASCII text.'
        ) from error


def print_event(text: str) -> None:
    """Print a line with the time."""
    now = datetime.now().astimezone().isoformat(timespec='seconds')
    print(printable(f'{now} {text}'), flush=True)
