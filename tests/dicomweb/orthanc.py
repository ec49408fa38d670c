"""A real Orthanc on loopback, with a temporary database."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

PACKAGES = ('orthanc', 'orthanc-dicomweb')
PLUGIN = Path('/usr/share/orthanc/plugins/libOrthancDicomWeb.so')
# environment variable: what tests may install, such as 'orthanc,ohif'
INSTALLS = 'LUNGDET_TEST_INSTALLS'
START_SECONDS, INSTALL_SECONDS = 30.0, 120.0


@contextmanager
def orthanc(folder: Path) -> Iterator[str]:
    """Run an empty server; yields its address, or skips the test.

    Args:
        folder: Folder for its configuration and database.
    """
    program = shutil.which('Orthanc')
    if program is None or not PLUGIN.is_file():
        install(*PACKAGES)
        program = shutil.which('Orthanc')
        assert program is not None
    port = free_port()
    settings = {
        'StorageDirectory': str(folder / 'database'),
        'IndexDirectory': str(folder / 'database'),
        'Plugins': [str(PLUGIN)],
        'HttpPort': port,
        # listens on all interfaces, but accepts clients on this machine only
        'RemoteAccessAllowed': False,
        'AuthenticationEnabled': False,
        'DicomServerEnabled': False,
        'DicomWeb': {'Enable': True, 'Root': '/dicom-web/'},
    }
    (folder / 'orthanc.json').write_text(json.dumps(settings))
    with (
        open(folder / 'orthanc.log', 'wb') as log,
        subprocess.Popen(
            [program, str(folder / 'orthanc.json')], stdout=log, stderr=log
        ) as process,
    ):
        try:
            address = f'http://127.0.0.1:{port}'
            wait_for(f'{address}/system', process)
            yield address
        finally:
            process.terminate()
            process.wait(START_SECONDS)
    shutil.rmtree(folder / 'database')


def install(*packages: str) -> None:
    """Install Debian packages if that is allowed, else skip the test."""
    names = ' '.join(packages)
    if not may_install(packages[0]):
        pytest.skip(
            f'no {packages[0]}; apt-get install {names}, or set '
            f'{INSTALLS}={packages[0]}'
        )
    try:
        for words in (
            ['update', '-qq'],
            ['install', '-qq', '-y', '--no-install-recommends', *packages],
        ):
            subprocess.run(
                ['apt-get', *words],
                check=True,
                capture_output=True,
                timeout=INSTALL_SECONDS,
                env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'},
            )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f'{names} cannot be installed: {error}')


def may_install(name: str) -> bool:
    """Whether the tests may install a program."""
    return name in os.environ.get(INSTALLS, '').split(',')


def free_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        return unused.getsockname()[1]


def send(address: str, folder: Path) -> None:
    """Upload the DICOM files of a folder through Orthanc's REST API."""
    for path in sorted(folder.glob('*.dcm')):
        with urlopen(Request(f'{address}/instances', path.read_bytes())):
            pass


def fetch(url: str) -> bytes:
    """Body of the response to a GET request."""
    with urlopen(url) as answer:
        return answer.read()


def wait_for(url: str, process: subprocess.Popen) -> None:
    ends = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        try:
            fetch(url)
            return
        except URLError:
            time.sleep(0.1)
    pytest.fail(f'Orthanc does not answer at {url}')
