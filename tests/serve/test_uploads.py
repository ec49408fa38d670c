"""Uploads: valid scans, and everything that must be refused."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lungdet.serve import uploads
from lungdet.serve.limits import Refusal
from lungdet.serve.service import Service
from lungdet.serve.uploads import PIECE, TAKEN, ScanForm, checked_suffix
from tests.serve.scene import Make, client_of, make_service, send, service

__all__ = ['make_service', 'service']
B = 'xYz'
TYPE = {'Content-Type': f'multipart/form-data; boundary={B}'}


def part(
    content: bytes, name: str = 'scan', file: str | None = 'a.mha'
) -> bytes:
    filename = '' if file is None else f'; filename="{file}"'
    head = f'--{B}\r\nContent-Disposition: form-data; name="{name}"{filename}'
    return head.encode() + b'\r\n\r\n' + content + b'\r\n'


END = f'--{B}--\r\n'.encode()


def files(service: Service) -> list[Path]:
    return [p for p in service.storage.root.rglob('*') if 'jobs/' in str(p)]


@pytest.mark.parametrize(
    ('name', 'suffix'),
    [
        ('scan.mha', '.mha'),
        ('SCAN.NII.GZ', '.nii.gz'),
        ('a.nii', '.nii'),
        ('a.nrrd', '.nrrd'),
        ('DOE^JOHN.zip', '.zip'),
        ('../../../etc/cron.d/x.mha', '.mha'),
        ('..\\..\\x.mha', '.mha'),
        ('/etc/passwd\0.mha', '.mha'),
        ('<img src=x onerror=alert(1)>.mha', '.mha'),
        ('.mha', '.mha'),
        ('x' * 3000 + '.mha', '.mha'),
    ],
)
def test_nothing_of_a_name_is_used_but_its_suffix(
    service: Service, name: str, suffix: str
) -> None:
    quoted = name.replace('"', '%22')
    body = part(b'\x00\r\n--xY\xff' * 100, file=quoted) + END

    answer = client_of(service).post('/v1/jobs', content=body, headers=TYPE)

    assert answer.status_code == 202, answer.text
    job_id = answer.json()['id']
    folder = service.storage.root / 'jobs' / job_id
    assert files(service) == [folder, folder / f'scan{suffix}']
    assert (folder / f'scan{suffix}').read_bytes() == (
        b'\x00\r\n--xY\xff' * 100
    )
    assert name[:8] not in answer.text or name == suffix
    assert answer.headers['location'] == f'/v1/jobs/{job_id}'


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('scan.mhd', 'a zip of both'),
        ('scan.exe', 'send one of .mha'),
        ('mha', 'send one of .mha'),
        ('scan.mha.exe', 'send one of .mha'),
        ('scan.mha/', 'send one of .mha'),
        ('', 'send one of .mha'),
        ('series.csv', 'send one of .mha'),
        ('http://a/b', 'send one of .mha'),
    ],
)
def test_other_suffixes_are_refused(
    service: Service, name: str, reason: str
) -> None:
    answer = client_of(service).post(
        '/v1/jobs', content=part(b'x', file=name) + END, headers=TYPE
    )

    assert answer.status_code == 415
    assert reason in answer.json()['detail']
    assert files(service) == []
    with pytest.raises(Refusal):
        checked_suffix(name)


def test_the_longest_suffix_counts() -> None:
    assert checked_suffix('a.nii.gz') == '.nii.gz'
    assert {checked_suffix(f'a{suffix}') for suffix in TAKEN} == {*TAKEN}


BROKEN: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    'no form': (b'scan', {'Content-Type': 'image/x-mha'}, 415, 'multipart'),
    'no type': (b'scan', {}, 415, 'multipart'),
    'no boundary': (
        b'scan',
        {'Content-Type': 'multipart/form-data'},
        415,
        'multipart',
    ),
    'long boundary': (
        b'scan',
        {'Content-Type': f'multipart/form-data; boundary={"x" * 999}'},
        400,
        'cannot be parsed',
    ),
    'not a part': (b'garbage' * 99, TYPE, 400, 'cannot be parsed'),
    'nothing': (b'', TYPE, 400, 'no complete file'),
    'no scan': (END, TYPE, 400, ''),
    'cut': (part(b'x' * 99), TYPE, 400, 'no complete file'),
    'cut in the head': (part(b'x')[:30], TYPE, 400, 'no complete file'),
    'empty': (part(b'') + END, TYPE, 400, 'empty'),
    'text instead of a file': (part(b'x', file=None) + END, TYPE, 415, ''),
    'another field': (
        part(b'x', name='other') + END,
        TYPE,
        400,
        'single part, the file "scan"',
    ),
    'two files': (part(b'x') + part(b'y') + END, TYPE, 400, 'single part'),
    'many headers': (
        f'--{B}\r\n'.encode() + b'A: b\r\n' * 99 + b'\r\nx\r\n' + END,
        TYPE,
        400,
        'cannot be parsed',
    ),
    'a long header': (
        f'--{B}\r\nA: {"b" * 9999}\r\n\r\nx\r\n'.encode() + END,
        TYPE,
        400,
        'cannot be parsed',
    ),
}


@pytest.mark.parametrize(
    ('body', 'headers', 'status', 'reason'), BROKEN.values(), ids=BROKEN
)
def test_broken_forms_are_refused_in_one_sentence(
    service: Service,
    body: bytes,
    headers: dict[str, str],
    status: int,
    reason: str,
) -> None:
    answer = client_of(service).post('/v1/jobs', content=body, headers=headers)

    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert reason in problem['detail'] and problem['detail'].endswith('.')
    assert files(service) == [] and service.storage.size() == 0
    assert service.counts.received == 0


def chunks(content: bytes) -> Iterator[bytes]:
    """A body that is sent without Content-Length."""
    for start in range(0, len(content), 50_000):
        yield content[start : start + 50_000]


def test_too_much_is_refused_whether_it_is_announced_or_not(
    service: Service,
) -> None:
    client = client_of(service)
    limit = service.storage.limits.upload_bytes
    fits, over = (part(bytes(n)) + END for n in (limit, limit + 1))

    for body, status in ((fits, 202), (over, 413)):
        announced = client.post('/v1/jobs', content=body, headers=TYPE)
        counted = client.post('/v1/jobs', content=chunks(body), headers=TYPE)
        assert [announced.status_code, counted.status_code] == [status] * 2
    huge = client.post(
        '/v1/jobs',
        content=b'',
        headers={**TYPE, 'Content-Length': '99999999999999999999'},
    )

    assert huge.status_code == 413 and 'limit' in counted.json()['detail']
    assert len(service.storage.jobs.ids()) == 2
    assert len(files(service)) == 4


def test_pieces_are_put_together(make_service: Make) -> None:
    service = make_service(upload_bytes=3 * PIECE, disk_bytes=9 * PIECE)
    content = bytes(range(256)) * (2 * PIECE // 256) + b'end'

    answer = send(client_of(service), content)

    folder = service.storage.folder(answer.json()['id'])
    assert (folder / 'scan.mha').read_bytes() == content


def test_a_full_queue_and_a_full_disk_are_told(make_service: Make) -> None:
    service = make_service(waiting_jobs=1)
    client = client_of(service)
    send(client)

    answer = send(client)
    assert (answer.status_code, answer.headers['retry-after']) == (429, '30')
    assert '1 jobs are waiting' in answer.json()['detail']

    full = make_service('full', disk_bytes=10)
    answer = send(client_of(full), bytes(100_000))
    assert answer.status_code == 507
    assert 'not enough disk space' in answer.json()['detail']


def test_a_scan_that_does_not_arrive_in_time(make_service: Make) -> None:
    service = make_service(upload_seconds=0.05)

    def slow() -> Iterator[bytes]:
        yield part(b'x')[:20]
        time.sleep(0.3)
        yield b'y'

    answer = client_of(service).post('/v1/jobs', content=slow(), headers=TYPE)

    # the test client joins the chunks before it sends them
    assert answer.status_code in (400, 408)
    assert files(service) == []


def test_an_error_of_the_disk_leaves_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, status in ((errno.ENOSPC, 507), (errno.EIO, 500)):

        def fail(_: int, number: int = number) -> None:
            raise OSError(number, 'Told by the system', 'DOE.mha')

        monkeypatch.setattr(uploads, 'sync', fail)

        answer = send(client_of(service))

        assert answer.status_code == status and 'DOE' not in answer.text
        assert files(service) == [] and service.storage.size() == 0


def test_a_form_is_the_same_however_it_is_cut(tmp_path: Path) -> None:
    body = part(b'\r\n--xY' * 7) + END
    for step in (1, 2, 7, len(body)):
        folder = tmp_path / f'{step}'
        folder.mkdir()
        form = ScanForm(B.encode(), folder, 1000)
        for start in range(0, len(body), step):
            form.feed(body[start : start + step])
        form.end(b'')
        form.close()

        assert form.scan() == ('.mha', 42)
        assert (folder / 'scan.mha').read_bytes() == b'\r\n--xY' * 7
