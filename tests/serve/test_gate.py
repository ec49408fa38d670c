"""Headers of all responses, and errors without details."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse

from lungdet.serve.access import Access
from lungdet.serve.gate import HEADERS, Gate, internal_problem, origin_of
from lungdet.serve.limits import Refusal
from lungdet.serve.metrics import Counts

TOKEN = 'correct-horse-battery'


class Scene:
    """An application with an error whose message quotes a patient."""

    def __init__(self, token: str | None = None) -> None:
        self.told: list[str] = []
        self.counts = Counts()
        app = FastAPI()
        app.add_exception_handler(Exception, internal_problem)

        @app.get('/text')
        def text() -> PlainTextResponse:
            return PlainTextResponse('text', headers={'X-Frame-Options': 'X'})

        @app.get('/error')
        def error() -> None:
            raise ValueError('DOE^JOHN has no lungs')

        @app.get('/refusal')
        def refusal() -> None:
            raise Refusal(418, 'no coffee.', {'Retry-After': '5'})  # type: ignore[arg-type]

        gate = Gate(app, Access(token), self.counts, self.told.append)
        self.client = TestClient(gate, base_url='http://localhost')


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_every_answer_has_the_headers(scene: Scene) -> None:
    for path in ('/text', '/error', '/nothing'):
        answer = scene.client.get(path)
        for name, value in HEADERS.items():
            a_routes = (path, name) == ('/text', 'X-Frame-Options')
            assert answer.headers[name] == ('X' if a_routes else value)


def test_an_error_of_ours_tells_where_and_not_what(scene: Scene) -> None:
    answer = scene.client.get('/error')

    assert answer.status_code == 500
    assert answer.headers['content-type'] == 'application/problem+json'
    assert answer.json()['title'] == 'Internal Server Error'
    (line,) = scene.told
    assert 'ValueError in' in line and 'test_gate.py:' in line
    assert 'DOE' not in line + answer.text
    assert scene.counts.refused[500] == 1


def test_head_is_get_without_a_body(scene: Scene) -> None:
    answer = scene.client.head('/text')

    assert (answer.status_code, answer.content) == (200, b'')
    assert answer.headers['content-length'] == '4'
    assert scene.client.head('/nothing').status_code == 404


def test_what_is_not_let_in_reaches_no_route() -> None:
    scene = Scene(TOKEN)

    answer = scene.client.get('/error')

    assert answer.status_code == 401 and not scene.told
    assert answer.headers['www-authenticate'] == 'Bearer'
    assert 'Bearer TOKEN' in answer.json()['detail']
    assert scene.counts.refused[401] == 1
    headers = {'Authorization': f'Bearer {TOKEN}'}
    assert scene.client.get('/text', headers=headers).text == 'text'


def test_the_origin_of_an_error() -> None:
    try:
        int('DOE')
    except ValueError as error:
        text = origin_of(error)

    assert text.startswith('ValueError in') and 'DOE' not in text
