from __future__ import annotations

from collections.abc import Iterator

import pytest

from lungdet.dicomweb import Patience
from tests.dicomweb.fake_server import FakeServer, fake_server

HASTY = Patience(connect=2, idle=2, listing=5, series=10, pause=0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """An empty server, and an environment without credentials."""
    for name in ('TOKEN', 'USER', 'PASSWORD'):
        monkeypatch.delenv(f'LUNGDET_DICOMWEB_{name}', raising=False)
    monkeypatch.setenv('NETRC', '/dev/null')
    with fake_server() as fake:
        yield fake
