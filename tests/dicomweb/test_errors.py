"""Faults of a server, and the messages about them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lungdet.dicomweb import ServerError
from lungdet.errors import ConfigError
from tests.dicomweb.fake_server import (
    Behave,
    FakeServer,
    fake_server,
    hang_up,
    html,
    redirect,
    status,
)
from tests.dicomweb.test_server import LIST, json_of, list_of

ALWAYS = 9  # more often than a request is tried


@pytest.mark.parametrize(
    ('behave', 'reason', 'tries'),
    [
        (html, 'returned a web page instead of DICOMweb; check', 1),
        (status(200), "returned 'text/plain' instead of DICOMweb", 1),
        (status(401), r'refuses access \(401\); set LUNGDET_DICOMWEB_TOK', 1),
        (status(403), r'refuses access \(403\)', 1),
        (status(404), r'nothing at this address \(404\); check the UIDs', 1),
        (status(400), r'refuses the request \(400\)', 1),
        (status(500), r'cannot answer \(500\)', 1),
        (status(503), r'cannot answer \(503\).* Tried 3 times', 3),
        (hang_up, 'the connection was lost .* Tried 3 times', 3),
        (json_of(b'{"a": 1}'), 'JSON that is not a list of DICOM obj', 1),
        (json_of(b'["a"]'), 'JSON that is not a list of DICOM obj', 1),
        (json_of(b'[{"a": 1'), 'invalid JSON', 1),
        (json_of(b'[' * 100_000), 'invalid JSON', 1),
        (redirect(f'/dicom-web{LIST}'), 'redirects more than 5 times', 6),
        (redirect('file:///etc/passwd'), 'an address that is not http', 1),
        (redirect('http://[::'), 'is invalid|was lost', None),
    ],
)
def test_what_is_said_of_an_answer(
    server: FakeServer, behave: Behave, reason: str, tries: int | None
) -> None:
    server.faults = {LIST: [behave] * ALWAYS}

    with pytest.raises(ServerError, match=reason) as raised:
        list_of(server)

    text = str(raised.value)
    assert text.startswith(f'{server.address}{LIST}: ') and '\n' not in text
    assert 'DOE' not in text and 'Doe' not in text
    assert tries is None or len(server.asked) == tries


def certificate(folder: Path) -> Path:
    """A self-signed certificate of 127.0.0.1."""
    if shutil.which('openssl') is None:
        pytest.skip('no openssl to make a certificate')
    path = folder / 'both.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-nodes']
        + ['-pkeyopt', 'ec_paramgen_curve:prime256v1', '-subj', '/CN=test']
        + ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', str(path)]
        + ['-out', str(folder / 'cert.pem')],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (folder / 'cert.pem').read_text())
    return path


def test_certificates_are_checked(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('SSL_CERT_FILE', raising=False)
    with fake_server(certificate(tmp_path)) as secure:
        secure.faults = {
            LIST: [json_of(b'[]'), redirect(f'{server.address}/x')]
        }
        with pytest.raises(ServerError, match='TLS failed .*self.signed'):
            list_of(secure)
        assert not secure.asked
        monkeypatch.setenv('SSL_CERT_FILE', str(tmp_path / 'cert.pem'))

        assert list_of(secure) == []
        with pytest.raises(ServerError, match='to an address without TLS'):
            list_of(secure)
    assert not server.asked


def test_tls_where_there_is_none(server: FakeServer) -> None:
    fake = FakeServer(server.address.replace('http:', 'https:'))

    with pytest.raises(ServerError, match='TLS failed .* it uses https'):
        list_of(fake)


def test_a_certificate_file_that_is_not_there(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('SSL_CERT_FILE', '/not/there.pem')

    with pytest.raises(ConfigError, match='correct SSL_CERT_FILE'):
        list_of(server)
