"""Access: for anybody on this machine, or for whoever has the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from lungdet.errors import ConfigError
from lungdet.serve.limits import Refusal

COOKIE = 'lungdet'
TOKEN = re.compile(r'[!-~]{16,200}')
READING = ('GET', 'HEAD')


class Access:
    """What a request must prove.

    Without a token, only requests to a name of this machine are answered:
    otherwise another site could let its own name resolve to this server (DNS
    rebinding). In any case, a request that changes something must not come
    from a page of another site.

    Args:
        token: Secret that clients send; None for no secret.

    Raises:
        ConfigError: The token is too short, or has characters that a header
            cannot have.
    """

    def __init__(self, token: str | None) -> None:
        if token is not None and not TOKEN.fullmatch(token):
            raise ConfigError(
                'token: must have 16 to 200 ASCII characters without spaces; '
                "take one of python -c 'import secrets; "
                "print(secrets.token_urlsafe())'."
            )
        self._token = token

    @property
    def needs_token(self) -> bool:
        """Whether clients must have a token."""
        return self._token is not None

    def check(
        self, method: str, headers: Mapping[str, str], *, is_open: bool
    ) -> None:
        """Refuse a request that is not allowed.

        Args:
            method: HTTP method.
            headers: By names in lower case.
            is_open: Whether the path needs no token.

        Raises:
            Refusal: 401 without the token, 403 from another site, 421 to
                another host name.
        """
        host = headers.get('host', '')
        if not self.needs_token and not is_loopback(host_name(host)):
            raise Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                'this server answers to localhost only; start it with a token '
                'for other names.',
            )
        if method not in READING and not _is_same_site(headers, host):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                'the request comes from a page of another site.',
            )
        if not is_open and not self.knows(headers):
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                'send the token of this server, as the header "Authorization: '
                'Bearer TOKEN".',
                {'WWW-Authenticate': 'Bearer'},
            )

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether headers contain the token, or the cookie given for it.

        Args:
            headers: By names in lower case.
        """
        if self._token is None:
            return True
        kind, _, sent = headers.get('authorization', '').partition(' ')
        if kind.lower() == 'bearer':
            return _are_equal(sent.strip(), self._token)
        return _are_equal(_cookie(headers), self.cookie())

    def cookie(self) -> str:
        """The cookie that stands for the token: a browser that follows a link
        cannot send another header."""
        secret = (self._token or '').encode()
        return hmac.new(secret, b'lungdet page', hashlib.sha256).hexdigest()


def is_loopback(name: str) -> bool:
    """Whether a host name or address is a loopback one.

    Args:
        name: Without port and brackets.

    Examples:
        >>> is_loopback('127.0.0.1'), is_loopback('::1'), is_loopback('a.org')
        (True, True, False)
    """
    if name.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """A Host header without its port.

    Args:
        host: Such as ``[::1]:80``.

    Examples:
        >>> host_name('[::1]:80'), host_name('localhost:80'), host_name('a')
        ('::1', 'localhost', 'a')
    """
    try:
        return urlsplit(f'//{host}').hostname or ''
    except ValueError:
        return ''


def _is_same_site(headers: Mapping[str, str], host: str) -> bool:
    """Whether a request comes from this site, or not from a browser, which
    would send an Origin."""
    origin = headers.get('origin')
    return origin is None or origin.partition('://')[2] == host


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        cookies = SimpleCookie(headers.get('cookie', ''))
    except CookieError:
        return ''
    return cookies[COOKIE].value if COOKIE in cookies else ''


def _are_equal(sent: str, secret: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(
        sent.encode('utf-8', 'replace'), secret.encode()
    )
