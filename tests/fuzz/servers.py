"""What other machines send: DICOMweb answers, uploads, and stored jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.dicom_series import write_slice
from tests.fuzz.target import Reading, fingerprint

STUDY, SERIES = '1.2', '1.2.3'
BOUNDARY = 'fuzz-boundary'
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
JSON = 'application/dicom+json'
FORM = b'boundary'
OPENED = ExitStack()  # closed by the worker, else its process never ends


@cache
def server() -> Any:
    """A server in this process."""
    from tests.dicomweb.fake_server import fake_server

    return OPENED.enter_context(fake_server())


def answered(path: Path, kind: str, part: str) -> Any:
    """The server, which answers a request with a file's bytes."""
    fake, content = server(), path.read_bytes()
    fake.faults.clear()
    fake.faults[part] = [lambda handler: handler.answer(200, content, kind)]
    return fake


def address(fake: Any) -> Any:
    from lungdet.dicomweb import parse_address

    return parse_address(fake.of(STUDY, SERIES))


def patience() -> Any:
    from lungdet.dicomweb.server import Patience

    return Patience(connect=2, idle=3, listing=5, series=5, tries=1)


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {'vr': vr, 'Value': list(values)}


def series_list(folder: Path) -> Path:
    """The list of the series of an examination."""
    one = {
        '0020000E': element('UI', SERIES),
        '00080060': element('CS', 'CT'),
        '0008103E': element('LO', 'chest'),
        '00201209': element('IS', 26),
    }
    (folder / 'series.json').write_text(json.dumps([one]))
    return folder / 'series.json'


def instance_list(folder: Path) -> Path:
    """The list of the instances of a series."""
    one = {
        '00080016': element('UI', '1.2.840.10008.5.1.4.1.1.2'),
        '00080018': element('UI', '1.2.3.4'),
        '00180050': element('DS', 1.25),
        '00280008': element('IS', 1),
    }
    (folder / 'instances.json').write_text(json.dumps([one]))
    return folder / 'instances.json'


def listed(kind: str) -> Callable[[Path], Reading]:
    """A reader of one of the two lists; the server answers both."""

    def read(path: Path) -> Reading:
        from lungdet.dicomweb import list_remote_series

        other = 'instances' if kind == 'series' else 'series'
        make = instance_list if kind == 'series' else series_list
        intact = make(path.parent).read_bytes()
        fake, content = server(), path.read_bytes()
        bodies = {kind: content, other: intact}
        fake.faults.clear()
        for part, body in (
            ('/instances', bodies['instances']),
            ('/series', bodies['series']),
        ):
            fake.faults[part] = [
                lambda handler, body=body: handler.answer(200, body, JSON)
            ]
        every = list_remote_series(address(fake), patience())
        return fingerprint([vars(one) for one in every]), ()

    return read


def slices(folder: Path) -> Path:
    """A series of two slices as a multipart message."""
    hu = np.arange(16 * 24).reshape(16, 24)
    files = [write_slice(folder, k, hu, series=SERIES) for k in (1, 2)]
    head = f'--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n'.encode()
    body = b''.join(head + one.read_bytes() + b'\r\n' for one in files)
    (folder / 'body').write_bytes(body + f'--{BOUNDARY}--'.encode())
    for one in files:
        one.unlink()
    return folder / 'body'


def fetched(path: Path) -> list[bytes]:
    from lungdet.dicomweb import fetch_series

    out = path.parent / 'out'
    out.mkdir(exist_ok=True)
    fake = answered(path, MULTIPART, '/series/')
    fetch_series(address(fake), 2, out, patience=patience())
    return [one.read_bytes() for one in sorted(out.iterdir())]


def as_split(path: Path) -> bool:
    """Whether the files are what lies between the boundaries."""
    mark = f'\r\n--{BOUNDARY}'.encode()
    _, *parts = (b'\r\n' + path.read_bytes()).split(mark)
    bodies = [
        part.split(b'\r\n\r\n', 1)[1]
        for part in parts
        if not part.startswith(b'--')
    ]
    return fetched(path) == bodies


def store_answer(folder: Path) -> Path:
    """What a server answers when a file was stored."""
    uid = {'00081155': element('UI', '1.2.3.9')}
    (folder / 'answer.json').write_text(
        json.dumps({'00081199': element('SQ', uid)})
    )
    return folder / 'answer.json'


def stored(path: Path) -> Reading:
    """A file that is not confirmed counts as not stored."""
    from lungdet.dicomweb import store_files

    hu = np.arange(16 * 24).reshape(16, 24)

    def named(data: Any) -> None:
        data.SOPInstanceUID = '1.2.3.9'

    one = write_slice(path.parent, 1, hu, edit=named)
    fake = answered(path, JSON, '/studies')
    (outcome,) = store_files(address(fake), [one], patience())
    told = [] if outcome.failure is None else [outcome.failure]
    return fingerprint(outcome.failure), told


def form(folder: Path) -> Path:
    """The form with which a browser sends a scan."""
    body = (
        b'--' + FORM + b'\r\nContent-Disposition: form-data; name="scan"; '
        b'filename="a.mha"\r\nContent-Type: application/octet-stream\r\n\r\n'
        + bytes(range(256))
        + b'\r\n--'
        + FORM
        + b'--\r\n'
    )
    (folder / 'form').write_bytes(body)
    return folder / 'form'


def uploaded(path: Path) -> bytes:
    from lungdet.serve.uploads import ScanForm

    out = path.parent / 'out'
    out.mkdir(exist_ok=True)
    for one in out.iterdir():
        one.unlink()
    scan = ScanForm(FORM, out, 100_000)
    try:
        scan.end(path.read_bytes())
        suffix, size = scan.scan()
    finally:
        scan.close()
    content = (out / f'scan{suffix}').read_bytes()
    assert len(content) == size
    return content


def form_as_split(path: Path) -> bool:
    """Whether the scan is what lies between the boundaries."""
    _, part, *_ = (b'\r\n' + path.read_bytes()).split(b'\r\n--' + FORM)
    return uploaded(path) == part.split(b'\r\n\r\n', 1)[1]


def jobs(folder: Path) -> Path:
    """The table of a server with a job that is done, and one that waits."""
    from lungdet.serve.jobs import JobTable

    table = JobTable(folder / 'jobs.sqlite')
    for name in ('a' * 32, 'b' * 32):
        table.add(name, '.mha', 10)
    job = table.start_next()
    assert job is not None
    table.finish(job, detections=2, files={'json': ['result.json']}, size=7)
    table.close()
    return folder / 'jobs.sqlite'


def read_jobs(path: Path) -> Reading:
    from lungdet.serve.jobs import JobTable

    table = JobTable(path)
    try:
        every = [table.get(job_id) for job_id in sorted(table.ids())]
        counts = table.counts(), table.size(), table.mean_seconds()
    finally:
        table.close()
    return fingerprint(every, counts), ()


def token(folder: Path) -> Path:
    (folder / 'token').write_text('a-secret-token\n')
    return folder / 'token'


def read_token(path: Path) -> str | None:
    from lungdet.cli.serve import token_of

    return token_of(path)


def as_token(path: Path) -> bool:
    return read_token(path) == path.read_bytes().decode('ascii').strip()
