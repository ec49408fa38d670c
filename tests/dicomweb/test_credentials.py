from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from lungdet.dicomweb.credentials import authorization
from lungdet.errors import ConfigError

ROOT = 'https://pacs.org:8443/dicom-web'


def basic(text: str) -> str:
    return 'Basic ' + b64encode(text.encode()).decode()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ('TOKEN', 'USER', 'PASSWORD'):
        monkeypatch.delenv(f'LUNGDET_DICOMWEB_{name}', raising=False)
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))
    return tmp_path / 'netrc'


def test_nobody_is_named_without_credentials(nobody: Path) -> None:
    assert authorization(ROOT) is None
    nobody.write_text('machine other.org login a password b')
    assert authorization(ROOT) is None


def test_a_token_comes_before_a_name_before_netrc(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody.write_text('machine pacs.org login a password b')
    assert authorization(ROOT) == basic('a:b')
    monkeypatch.setenv('LUNGDET_DICOMWEB_USER', 'mü')
    monkeypatch.setenv('LUNGDET_DICOMWEB_PASSWORD', 'c:d')
    assert authorization(ROOT) == basic('mü:c:d')
    monkeypatch.setenv('LUNGDET_DICOMWEB_TOKEN', 'e.f')
    assert authorization(ROOT) == 'Bearer e.f'


def test_what_cannot_be_used_is_refused_without_saying_it(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody.write_text('machine pacs.org\nlogin a passwort SECRET')
    with pytest.raises(ConfigError, match=r'netrc \(line') as raised:
        authorization(ROOT)
    assert 'SECRET' not in str(raised.value)
    monkeypatch.setenv('LUNGDET_DICOMWEB_USER', 'a')
    with pytest.raises(ConfigError, match='set both'):
        authorization(ROOT)
    monkeypatch.setenv('LUNGDET_DICOMWEB_TOKEN', 'SECRET\r\nX: y')
    with pytest.raises(ConfigError, match='line break') as raised:
        authorization(ROOT)
    assert 'SECRET' not in str(raised.value)
