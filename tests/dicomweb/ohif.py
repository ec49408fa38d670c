"""The OHIF viewer from its npm package, as a client of a DICOMweb server."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.dicomweb.orthanc import INSTALLS, may_install

PACKAGE = '@ohif/app@3.12.10'  # 48 MB; contains the built application
PACK_SECONDS = 300.0
SOURCE = {
    'namespace': '@ohif/extension-default.dataSourcesModule.dicomweb',
    'sourceName': 'dicomweb',
    'configuration': {
        'friendlyName': 'server',
        'qidoRoot': '/dicom-web',
        'wadoRoot': '/dicom-web',
        'wadoUriRoot': '/wado',
        'imageRendering': 'wadors',
        'thumbnailRendering': 'wadors',
        'enableStudyLazyLoad': True,
        'supportsFuzzyMatching': False,
        'supportsWildcard': True,
        'omitQuotationForMultipartRequest': True,
        'bulkDataURI': {'enabled': True},
    },
}
CONFIG = {
    'routerBasename': '/',
    'extensions': [],
    'modes': [],
    'showStudyList': True,
    'dataSources': [SOURCE],
    'defaultDataSourceName': 'dicomweb',
    'investigationalUseDialog': {'option': 'never'},
}


class Handler(SimpleHTTPRequestHandler):
    """Serves the application and its settings, and proxies the PACS."""

    protocol_version = 'HTTP/1.1'

    def __init__(self, *given: Any, server_behind: str, **more: Any) -> None:
        self.server_behind = server_behind
        super().__init__(*given, **more)

    def do_GET(self) -> None:
        path = self.path.partition('?')[0]
        if path.startswith('/dicom-web/'):
            self.pass_on()
        elif path == '/app-config.js':
            text = f'window.config = {json.dumps(CONFIG)};'
            self.answer(200, text.encode(), 'text/javascript')
        else:
            if not Path(self.translate_path(path)).is_file():
                self.path = '/index.html'  # the application's own routes
            super().do_GET()

    def pass_on(self) -> None:
        headers = {'Accept': self.headers.get('Accept', '*/*')}
        request = Request(self.server_behind + self.path, headers=headers)
        try:
            with urlopen(request) as answer:
                kind = answer.headers['Content-Type']
                self.answer(answer.status, answer.read(), kind)
        except HTTPError as error:
            self.answer(error.code, error.read(), 'text/plain')

    def answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        self.send_header('Cross-Origin-Opener-Policy', 'same-origin')
        self.send_header('Cross-Origin-Embedder-Policy', 'require-corp')
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Ignore connections that a closed page drops."""


def unpack_ohif(folder: Path) -> Path:
    """Fetch the built application from the npm registry.

    Skips the test if that is not allowed, or npm or the registry is not
    available.
    """
    npm = shutil.which('npm')
    if npm is None or not may_install('ohif'):
        pytest.skip(f'OHIF is fetched by npm only if {INSTALLS} names ohif')
    try:
        subprocess.run(
            [npm, 'pack', PACKAGE, '--pack-destination', str(folder)],
            check=True,
            capture_output=True,
            timeout=PACK_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f'{PACKAGE} cannot be fetched: {error}')
    (packed,) = folder.glob('*.tgz')
    with tarfile.open(packed) as archive:
        if hasattr(tarfile, 'data_filter'):  # not in Python before 3.11.4
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    packed.unlink()
    return folder / 'package' / 'dist'


@contextmanager
def ohif(folder: Path, server_behind: str) -> Iterator[str]:
    """Run the viewer; yields its address.

    Args:
        folder: Folder to unpack the application into.
        server_behind: Address of the PACS, without ``/dicom-web``.
    """
    handler = partial(
        Handler,
        directory=str(unpack_ohif(folder)),
        server_behind=server_behind,
    )
    with Listener(('127.0.0.1', 0), handler) as listener:
        thread = Thread(target=listener.serve_forever, args=(0.1,))
        thread.start()
        try:
            yield f'http://127.0.0.1:{listener.server_address[1]}'
        finally:
            listener.shutdown()
            thread.join()
    shutil.rmtree(folder / 'package')
