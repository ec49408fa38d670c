"""A DICOMweb server in this process that can simulate faults."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmread

ROOT = '/dicom-web'
BOUNDARY = 'fake-boundary'
SERIES_TAGS = ('Modality', 'SeriesDescription', 'SeriesInstanceUID')
SERIES_TAGS += ('StudyInstanceUID', 'PatientName')
INSTANCE_TAGS = ('SOPClassUID', 'SOPInstanceUID', 'InstanceNumber')
RESOURCE = re.compile(
    rf'{ROOT}/studies/(?P<study>[^/]+)(/series(/(?P<series>[^/]+)'
    r'(?P<instances>/instances(/(?P<one>[^/]+)/metadata)?)?)?)?'
)
Behave = Callable[['Handler'], None]


@dataclass
class FakeServer:
    """Contents, request log and faults of a server.

    Attributes:
        address: Address of its DICOMweb service.
        files: SOPInstanceUID -> bytes.
        asked: Method, path and headers of each request.
        faults: Part of a path -> what to do on requests for it instead of
            answering, used one after another.
        refused: SOP classes that the server refuses to store.
        counts: Whether the number of instances of a series is returned.
        includes: Whether the fields of ``includefield`` are returned.
    """

    address: str = ''
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    faults: dict[str, list[Behave]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    counts: bool = True
    includes: bool = True

    def add(self, folder: Path) -> None:
        """Add the DICOM files of a folder."""
        for path in sorted(folder.rglob('*.dcm')):
            self.store(path.read_bytes())

    def store(self, content: bytes) -> Dataset:
        """Add one file."""
        data = dcmread(BytesIO(content))
        self.files[data.SOPInstanceUID] = content
        return data

    def headers(self, **wanted: str | None) -> list[Dataset]:
        """Headers of the files that have these values."""
        every = [
            dcmread(BytesIO(content), stop_before_pixels=True)
            for content in self.files.values()
        ]
        return [
            one
            for one in every
            if all(v is None or one[k].value == v for k, v in wanted.items())
        ]

    def of(self, study: str, series: str | None = None) -> str:
        """The address of an examination or series."""
        path = f'{self.address}/studies/{study}'
        return path if series is None else f'{path}/series/{series}'


class Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    protocol_version = 'HTTP/1.1'

    @property
    def fake(self) -> FakeServer:
        return self.server.fake  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        if self.misbehaves():
            return
        parts = urlsplit(self.path)
        match = RESOURCE.fullmatch(parts.path)
        if match is None:
            return self.answer(404, b'no')
        query = parse_qs(parts.query)
        headers = self.fake.headers(
            StudyInstanceUID=match['study'],
            SeriesInstanceUID=match['series'],
            SOPInstanceUID=match['one'],
        )
        if match['one']:
            self.json(200, [_json(one, one.dir()) for one in headers])
        elif match['instances']:
            fields = query['includefield'][0].split(',')
            tags = [*INSTANCE_TAGS]
            if self.fake.includes:
                tags += ['SliceThickness'] * ('00180050' in fields)
            limit = int(query.get('limit', ['1000'])[0])
            self.json(200, [_json(one, tags) for one in headers[:limit]])
        elif match['series']:
            uids = [one.SOPInstanceUID for one in headers]
            if not uids:
                return self.answer(404, b'no')
            self.parts([self.fake.files[uid] for uid in uids])
        else:
            self.json(200, self.series(headers))

    def series(self, headers: list[Dataset]) -> list[dict]:
        first = {}
        counts: dict[str, int] = {}
        for one in headers:
            uid = one.SeriesInstanceUID
            first.setdefault(uid, _json(one, SERIES_TAGS))
            counts[uid] = counts.get(uid, 0) + 1
        if self.fake.counts:
            for uid, values in first.items():
                values['00201209'] = {'vr': 'IS', 'Value': [counts[uid]]}
        return [*first.values()]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers['Content-Length']))
        if self.misbehaves():
            return
        boundary = self.headers['Content-Type'].split('boundary=')[1]
        contents = body.split(f'--{boundary}'.encode())[1:-1]
        stored, failed = [], []
        for content in contents:
            content = content.split(b'\r\n\r\n', 1)[1].removesuffix(b'\r\n')
            data = dcmread(BytesIO(content))
            uid = {'00081155': {'vr': 'UI', 'Value': [data.SOPInstanceUID]}}
            if data.SOPClassUID in self.fake.refused:
                reason = {'00081197': {'vr': 'US', 'Value': [0x0122]}}
                failed.append(uid | reason)
            else:
                self.fake.store(content)
                stored.append(uid)
        answer: dict[str, Any] = {}
        if stored:
            answer['00081199'] = {'vr': 'SQ', 'Value': stored}
        if failed:
            answer['00081198'] = {'vr': 'SQ', 'Value': failed}
        status = 200 if not failed else 202 if stored else 409
        self.json(status, answer)

    def misbehaves(self) -> bool:
        self.fake.asked.append((self.command, self.path, {**self.headers}))
        for part, left in self.fake.faults.items():
            if part in self.path and left:
                left.pop(0)(self)
                return True
        return False

    def json(self, status: int, values: Any) -> None:
        content = json.dumps(values).encode()
        self.answer(status, content, 'application/dicom+json')

    def parts(self, contents: list[bytes]) -> None:
        """Send a multipart message without Content-Length, like Orthanc."""
        self.send_response(200)
        kind = f'multipart/related; type="application/dicom"; {BOUNDARY=}'
        self.send_header('Content-Type', kind.replace("'", '"'))
        self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(join(contents))
        self.close_connection = True

    def answer(
        self,
        status: int,
        content: bytes = b'',
        kind: str = 'text/plain',
        **headers: str,
    ) -> None:
        self.send_response(status)
        headers = {'Content-Type': kind, **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def join(contents: list[bytes]) -> bytes:
    """A multipart message, built without lungdet."""
    head = f'--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n'.encode()
    body = b''.join(head + content + b'\r\n' for content in contents)
    return body + f'--{BOUNDARY}--'.encode()


def _json(data: Dataset, tags: Any) -> dict[str, Any]:
    chosen = Dataset()
    for tag in tags:
        if tag in data:
            chosen[tag] = data[tag]
    return chosen.to_json_dict()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeServer

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that hang up, which some tests do."""


@contextmanager
def fake_server(certificate: Path | None = None) -> Iterator[FakeServer]:
    """Run a server on loopback until the block ends.

    Args:
        certificate: File with certificate and key, for TLS.
    """
    with _Listener(('127.0.0.1', 0), Handler) as listener:
        scheme = 'http'
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listener.socket = context.wrap_socket(
                listener.socket, server_side=True
            )
            scheme = 'https'
        port = listener.server_address[1]
        fake = FakeServer(f'{scheme}://127.0.0.1:{port}{ROOT}')
        listener.fake = fake
        thread = Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield fake
        finally:
            listener.shutdown()
            thread.join()


def html(handler: Handler) -> None:
    handler.answer(200, b'<html>Doe, log in', 'text/html; charset=utf-8')


def status(code: int) -> Behave:
    return lambda handler: handler.answer(code, b'about DOE^JOHN')


def redirect(target: str) -> Behave:
    return lambda handler: handler.answer(302, b'x', Location=target)


def cut(handler: Handler) -> None:
    """Send half of a multipart message, then close the connection normally."""
    contents = [*handler.fake.files.values()]
    whole = join(contents)
    handler.send_response(200)
    handler.send_header(
        'Content-Type', f'multipart/related; boundary={BOUNDARY}'
    )
    handler.send_header('Connection', 'close')
    handler.end_headers()
    handler.wfile.write(whole[: len(whole) // 2])
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.close()
