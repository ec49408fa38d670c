"""Access control: local requests only, or requests with the token."""

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
    """Access rules of the server.

    Without a token, only requests to a loopback host name are answered.
    Otherwise another site could let its name resolve to this server (DNS
    rebinding). With or without a token, a request that changes something must
    not come from a page of another site (CSRF).

    Args:
        token: Secret that clients must send; None for no secret.

    Raises:
        ConfigError: The token is too short, or has characters that are not
            allowed in a header.
    """

    def __init__(self, token: str | None) -> None:
        if token is not None and not TOKEN.fullmatch(token):
            raise ConfigError(
                'token: must have 16 to 200 ASCII characters without spaces; '
                "create one with python -c 'import secrets; "
                "print(secrets.token_urlsafe())'."
            )
        self._token = token

    @property
    def needs_token(self) -> bool:
        """Whether clients must send a token."""
        return self._token is not None

    def check(
        self, method: str, headers: Mapping[str, str], *, is_open: bool
    ) -> None:
        """Refuse a request that is not allowed.

        Args:
            method: HTTP method.
            headers: Headers by lower-case name.
            is_open: Whether the path is accessible without a token.

        Raises:
            Refusal: 401: no token; 403: sent by another site's page; 421:
                addressed to another host name.
        """
        host = headers.get('host', '')
        if not self.needs_token and not is_loopback(host_name(host)):
            raise Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                'this server answers requests to localhost only; start it '
                'with a token to use another host name.',
            )
        if method not in READING and not _is_same_site(headers, host):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                'the request comes from a page of another site.',
            )
        if not is_open and not self.knows(headers):
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                'send the token of this server in the header "Authorization: '
                'Bearer TOKEN".',
                {'WWW-Authenticate': 'Bearer'},
            )

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers contain the token or the session cookie.

        Args:
            headers: Headers by lower-case name.
        """
        if self._token is None:
            return True
        kind, _, sent = headers.get('authorization', '').partition(' ')
        if kind.lower() == 'bearer':
            return _are_equal(sent.strip(), self._token)
        return _are_equal(_cookie(headers), self.cookie())

    def cookie(self) -> str:
        """Session cookie that replaces the token: a browser that follows a
        link cannot send other headers."""
        secret = (self._token or '').encode()
        return hmac.new(secret, b'lungdet page', hashlib.sha256).hexdigest()


def is_loopback(name: str) -> bool:
    """Whether a host name or address is that of the loopback interface.

    Args:
        name: Host name or address, without port and brackets.

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
    """The host name of a Host header, without port and brackets.

    Args:
        host: Value of the header, such as ``[::1]:80``.

    Examples:
        >>> host_name('[::1]:80'), host_name('localhost:80'), host_name('a')
        ('::1', 'localhost', 'a')
    """
    try:
        return urlsplit(f'//{host}').hostname or ''
    except ValueError:
        return ''


def _is_same_site(headers: Mapping[str, str], host: str) -> bool:
    """Whether a request comes from a page of this site, or has no Origin,
    so not from a browser."""
    origin = headers.get('origin')
    return origin is None or origin.partition('://')[2] == host


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        cookies = SimpleCookie(headers.get('cookie', ''))
    except CookieError:
        return ''
    return cookies[COOKIE].value if COOKIE in cookies else ''


def _are_equal(sent: str, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(
        sent.encode('utf-8', 'replace'), secret.encode()
    )
