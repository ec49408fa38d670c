from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from lungdet.dicomweb import ServerError
from lungdet.dicomweb import server as server_module
from lungdet.dicomweb.server import Server
from lungdet.errors import ConfigError
from tests.dicomweb.conftest import HASTY
from tests.dicomweb.fake_server import (
    Behave,
    FakeServer,
    Handler,
    cut,
    fake_server,
    hang_up,
    html,
    redirect,
    status,
)

LIST = '/studies/1.2/series'
ALWAYS = 9  # more often than a request is tried


def list_of(fake: FakeServer, **patience: Any) -> list[dict]:
    with Server(fake.address, replace(HASTY, **patience)) as server:
        return server.get_list(LIST)


def files_of(fake: FakeServer, **given: Any) -> list[bytes]:
    with (
        Server(fake.address, HASTY, **given) as server,
        server.get_parts(LIST) as parts,
    ):
        return [b''.join(part) for part in parts]


def json_of(content: bytes) -> Behave:
    return lambda handler: handler.answer(200, content, 'application/json')


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header('Content-Type', 'application/dicom+json')
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b'[' * 65536)
    except OSError:
        handler.close_connection = True


def dripping(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header('Content-Type', 'application/dicom+json')
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b' ')
            time.sleep(0.02)
    except OSError:
        pass
    handler.close_connection = True


def silent(handler: Handler) -> None:
    time.sleep(0.6)
    handler.close_connection = True


def test_an_answer_is_a_list(server: FakeServer) -> None:
    server.faults = {LIST: [json_of(b'[{"a": 1}]'), status(204)]}

    assert list_of(server) == [{'a': 1}]
    assert list_of(server) == []


@pytest.mark.parametrize('behave', [status(502), hang_up, silent])
def test_what_passes_is_tried_again(
    server: FakeServer, behave: Behave
) -> None:
    server.faults = {LIST: [behave, behave, json_of(b'[]')]}

    assert list_of(server, idle=0.3) == []
    assert len(server.asked) == 3


def test_a_server_that_says_nothing(server: FakeServer) -> None:
    server.faults = {LIST: [silent] * ALWAYS}

    with pytest.raises(ServerError, match='no data within the time limit'):
        list_of(server, idle=0.2, tries=2)


def test_answers_without_end(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits of bytes, with and without Content-Length, and of time."""
    monkeypatch.setattr(server_module, 'MAX_LIST', 1_000_000)
    server.faults = {LIST: [json_of(b' ' * 1_000_001), endless, dripping]}

    for _ in range(2):
        with pytest.raises(ServerError, match='exceeds 1e[+]06 bytes'):
            list_of(server)
    with pytest.raises(ServerError, match='not complete after 0.3 s'):
        list_of(server, listing=0.3)


def test_nobody_is_there() -> None:
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        port = unused.getsockname()[1]
        fake = FakeServer(f'http://127.0.0.1:{port}/dicom-web')

        with pytest.raises(ServerError, match='cannot connect to the server'):
            list_of(fake)


def test_a_login_page_behind_a_redirection(server: FakeServer) -> None:
    server.faults = {LIST: [redirect('/login')], '/login': [html]}

    with pytest.raises(ServerError, match='a web page'):
        list_of(server)


def test_credentials_are_sent_to_their_server_alone(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('LUNGDET_DICOMWEB_TOKEN', 'SECRET')
    with fake_server() as other:
        for fake in (server, other):
            fake.faults = {'/there': [json_of(b'[]')]}
        server.faults[LIST] = [
            redirect('/there'),
            redirect(f'{other.address}/there'),
        ]

        list_of(server)
        list_of(server)

    sent = [headers.get('Authorization') for _, _, headers in server.asked]
    assert sent == ['Bearer SECRET'] * 3
    ((_, _, headers),) = other.asked
    assert 'Authorization' not in headers


def test_parts_of_a_series(server: FakeServer) -> None:
    server.faults = {LIST: [lambda handler: handler.parts([b'a', b'', b'b'])]}

    assert files_of(server) == [b'a', b'', b'b']
    ((_, _, headers),) = server.asked
    assert headers['Accept-Encoding'] == 'identity'
    assert 'transfer-syntax=*' in headers['Accept']


def test_a_message_that_is_cut(server: FakeServer) -> None:
    """Even if the connection closes as after a complete message."""
    server.files = {'1': b'x' * 1000, '2': b'y' * 1000}
    server.faults = {LIST: [cut]}

    with pytest.raises(ServerError, match='ends before its last') as raised:
        files_of(server)

    assert raised.value.passing


def test_a_run_that_stops_is_not_held_up(server: FakeServer) -> None:
    server.faults = {LIST: [lambda handler: handler.parts([b'a' * 9])]}

    with pytest.raises(ServerError, match='interrupted'):
        files_of(server, stopped=lambda: True)


def test_without_httpx(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'httpx', None)

    with pytest.raises(ConfigError, match=r"pip install 'lungdet\[dicom\]'"):
        list_of(server)
