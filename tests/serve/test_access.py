"""Which requests are accepted, and which are refused."""

from __future__ import annotations

import pytest

from lungdet.errors import ConfigError
from lungdet.serve.access import COOKIE, Access, host_name, is_loopback
from lungdet.serve.limits import Refusal

TOKEN = 'correct-horse-battery'
HOST = {'host': 'localhost:8642'}


def status_of(access: Access, method: str, is_open: bool, **sent: str) -> int:
    """200, or the status of the refusal."""
    try:
        access.check(method, {**HOST, **sent}, is_open=is_open)
    except Refusal as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    ('sent', 'status'),
    [
        ({}, 401),
        ({'authorization': f'Bearer {TOKEN}'}, 200),
        ({'authorization': f'bearer  {TOKEN} '}, 200),
        ({'authorization': f'Basic {TOKEN}'}, 401),
        ({'authorization': TOKEN}, 401),
        ({'authorization': f'Bearer {TOKEN}x'}, 401),
        ({'authorization': f'Bearer {TOKEN[:-1]}'}, 401),
        ({'authorization': 'Bearer '}, 401),
        ({'authorization': 'Bearer \udcff\xe9'}, 401),
        ({'cookie': f'{COOKIE}={Access(TOKEN).cookie()}'}, 200),
        ({'cookie': f'a=b; {COOKIE}={Access(TOKEN).cookie()}'}, 200),
        ({'cookie': f'{COOKIE}={TOKEN}'}, 401),
        ({'cookie': f'{COOKIE}={Access("x" * 16).cookie()}'}, 401),
        ({'cookie': f'{COOKIE}={Access(None).cookie()}'}, 401),
        ({'cookie': ';;==\x01'}, 401),
    ],
)
def test_the_token_or_its_cookie(sent: dict[str, str], status: int) -> None:
    assert status_of(Access(TOKEN), 'GET', False, **sent) == status


def test_open_paths_need_no_token() -> None:
    assert status_of(Access(TOKEN), 'GET', True) == 200


def test_the_cookie_does_not_tell_the_token() -> None:
    assert TOKEN not in Access(TOKEN).cookie()
    assert Access(TOKEN).cookie() != Access(f'{TOKEN}x').cookie()


@pytest.mark.parametrize(
    'token', ['', 'short', 'with a space in it', 'ä' * 20]
)
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match='16 to 200 ASCII') as caught:
        Access(token)

    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ('host', 'status'),
    [
        ('localhost', 200),
        ('LOCALHOST:80', 200),
        ('127.0.0.1:8642', 200),
        ('127.9.9.9', 200),
        ('[::1]:8642', 200),
        ('evil.example', 421),  # a name that may resolve to this machine
        ('localhost.evil.example', 421),
        ('127.0.0.1.evil.example', 421),
        ('localhost@evil.example', 421),
        ('10.0.0.1', 421),
        ('[', 421),
        ('', 421),
    ],
)
def test_without_a_token_only_names_of_this_machine(
    host: str, status: int
) -> None:
    assert status_of(Access(None), 'GET', True, host=host) == status


def test_with_a_token_every_name() -> None:
    sent = {'host': 'ct.example', 'authorization': f'Bearer {TOKEN}'}

    assert status_of(Access(TOKEN), 'GET', False, **sent) == 200


@pytest.mark.parametrize(
    ('method', 'origin', 'status'),
    [
        ('POST', 'http://localhost:8642', 200),
        ('POST', 'https://localhost:8642', 200),  # behind a proxy
        ('POST', 'http://localhost:1', 403),
        ('POST', 'http://evil.example', 403),
        ('DELETE', 'http://evil.example', 403),
        ('POST', 'null', 403),
        ('POST', '', 403),
        ('GET', 'http://evil.example', 200),
    ],
)
def test_pages_of_other_sites_change_nothing(
    method: str, origin: str, status: int
) -> None:
    assert status_of(Access(None), method, False, origin=origin) == status


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('localhost', True),
        ('127.1.2.3', True),
        ('::1', True),
        ('0.0.0.0', False),
        ('::', False),
        ('192.168.1.1', False),
        ('example.org', False),
        ('', False),
    ],
)
def test_addresses_of_this_machine(name: str, expected: bool) -> None:
    assert is_loopback(name) == expected


def test_host_headers() -> None:
    assert host_name('a:80') == 'a' and host_name('[::1]') == '::1'
    assert host_name('a@b') == 'b' and host_name('[') == ''
