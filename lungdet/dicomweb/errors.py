"""Errors of a server, and what to do about them.

The server's own text is never quoted, since it may name a person.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lungdet.dicomweb.credentials import PASSWORD, TOKEN, USER
from lungdet.errors import SeriesError

if TYPE_CHECKING:
    import httpx


class ServerError(SeriesError):
    """A server that does not answer a request as it should.

    Attributes:
        passing: Whether another try may succeed.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


def check_status(answer: httpx.Response, where: str) -> None:
    """Refuse an answer with the status of an error.

    Raises:
        ServerError: The answer has such a status.
    """
    status = answer.status_code
    if status in (200, 202, 204):
        return
    what, remedy = _words_for(status)
    raise ServerError(
        f'{where}: the server {what} ({status}); {remedy}.',
        passing=status in (429, 502, 503, 504),
    )


def check_size(size: int, limit: int, where: str) -> None:
    """Refuse an answer larger than any valid one.

    Raises:
        ServerError: The answer is refused.
    """
    if size > limit:
        raise ServerError(
            f'{where}: the answer exceeds {limit:.2g} bytes; give the address '
            'of one series.'
        )


def check_type(answer: httpx.Response, where: str, kind: str) -> None:
    """Refuse an answer of another type, such as a login page.

    Raises:
        ServerError: The answer is refused.
    """
    stated = answer.headers.get('content-type', '')
    stated = stated.partition(';')[0].strip().lower()
    if kind in stated:
        return
    what = 'a web page' if 'html' in stated else f'{stated[:60]!r}'
    raise ServerError(
        f'{where}: the server answers {what}, not DICOMweb; check the path '
        'before /studies (often /dicom-web), and whether a login is missing.'
    )


def _words_for(status: int) -> tuple[str, str]:
    if status in (401, 403):
        return 'refuses access', (
            f'set {TOKEN}, or {USER} and {PASSWORD}, or an entry of ~/.netrc, '
            'and ask for the permission'
        )
    if status in (404, 410):
        return 'has nothing there', (
            'check the UIDs, and the path before /studies'
        )
    if status == 413:
        return 'takes no files of this size', 'ask its administrator'
    if status >= 500 or status == 429:
        return 'cannot answer', 'try again later, or look at its log'
    return 'refuses the request', (
        'check that the address is that of DICOMweb'
    )


@contextmanager
def plain_errors(where: str) -> Iterator[None]:
    """Raise errors of httpx as errors with plain messages.

    Args:
        where: Address, for the message.

    Raises:
        ServerError: In place of an error of httpx.
    """
    import httpx

    try:
        yield
    except httpx.InvalidURL as error:
        raise ServerError(
            f'{where}: no address ({error}); correct it, or where the server '
            'redirects to.'
        ) from error
    except httpx.TimeoutException as error:
        waited = 'connection' if 'Connect' in type(error).__name__ else 'byte'
        raise ServerError(
            f'{where}: no {waited} within the time limit; check that the '
            'server runs and can be reached.',
            passing=True,
        ) from error
    except httpx.TransportError as error:
        raise _of_transport(where, error) from error


def _of_transport(where: str, error: httpx.TransportError) -> ServerError:
    import httpx

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return ServerError(
                f'{where}: TLS failed ({_reason(cause)}); let SSL_CERT_FILE '
                "name the file with your server's authority, or check https."
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return ServerError(
            f'{where}: no server answers there ({error}); check host, port '
            'and proxy.',
            passing=True,
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return ServerError(
            f'{where}: the server redirects to what is not http; give the '
            'address that was meant.'
        )
    return ServerError(
        f'{where}: the connection was cut ({type(error).__name__}); run the '
        'same again.',
        passing=True,
    )


def _reason(error: ssl.SSLError) -> str:
    """The message of OpenSSL without its code and source line."""
    verify = getattr(error, 'verify_message', None)
    return str(verify or error.reason or 'handshake').lower().replace('_', ' ')
