"""Errors of a DICOMweb server, with advice on what to do.

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
    """A request failed, or the response of the server is invalid.

    Attributes:
        passing: Whether the error is transient, so that a retry may succeed.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


def check_status(answer: httpx.Response, where: str) -> None:
    """Check the HTTP status of a response.

    Raises:
        ServerError: The status is that of an error.
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
    """Check the size of a response, in bytes.

    Raises:
        ServerError: It is larger than any valid response.
    """
    if size > limit:
        raise ServerError(
            f'{where}: the response exceeds {limit:.2g} bytes; give the '
            'address of a single series.'
        )


def check_type(answer: httpx.Response, where: str, kind: str) -> None:
    """Check the content type of a response.

    Raises:
        ServerError: It does not contain ``kind``, as that of a login page.
    """
    stated = answer.headers.get('content-type', '')
    stated = stated.partition(';')[0].strip().lower()
    if kind in stated:
        return
    what = 'a web page' if 'html' in stated else f'{stated[:60]!r}'
    raise ServerError(
        f'{where}: the server returned {what} instead of DICOMweb; check the '
        'path before /studies (often /dicom-web), and whether a login is '
        'required.'
    )


def _words_for(status: int) -> tuple[str, str]:
    if status in (401, 403):
        return 'refuses access', (
            f'set {TOKEN}, or {USER} and {PASSWORD}, or add an entry to '
            '~/.netrc, and ask for permission'
        )
    if status in (404, 410):
        return 'found nothing at this address', (
            'check the UIDs, and the path before /studies'
        )
    if status == 413:
        return 'does not accept files of this size', 'ask its administrator'
    if status >= 500 or status == 429:
        return 'cannot answer', 'try again later, or look at its log'
    return 'refuses the request', (
        'check that the address is that of a DICOMweb service'
    )


@contextmanager
def plain_errors(where: str) -> Iterator[None]:
    """Turn errors of httpx into errors with a plain message.

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
            f'{where}: the address, or one that the server redirects to, is '
            f'invalid ({error}); correct it.'
        ) from error
    except httpx.TimeoutException as error:
        waited = 'connection' if 'Connect' in type(error).__name__ else 'data'
        raise ServerError(
            f'{where}: no {waited} within the time limit; check that the '
            'server is running and can be reached.',
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
                f'{where}: TLS failed ({_reason(cause)}); set SSL_CERT_FILE '
                'to the CA certificate of the server, or check whether it '
                'uses https.'
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return ServerError(
            f'{where}: cannot connect to the server ({error}); check host, '
            'port and proxy.',
            passing=True,
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return ServerError(
            f'{where}: the server redirects to an address that is not http; '
            'give the final address.'
        )
    return ServerError(
        f'{where}: the connection was lost ({type(error).__name__}); run the '
        'same command again.',
        passing=True,
    )


def _reason(error: ssl.SSLError) -> str:
    """The message of OpenSSL, without its code and source line."""
    verify = getattr(error, 'verify_message', None)
    return str(verify or error.reason or 'handshake').lower().replace('_', ' ')
