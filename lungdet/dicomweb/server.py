"""HTTP connection to a DICOMweb server: bounded responses, and retries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import lungdet
from lungdet.dicomweb.credentials import authorization
from lungdet.dicomweb.errors import (
    ServerError,
    check_size,
    check_status,
    check_type,
    plain_errors,
)
from lungdet.dicomweb.multipart import (
    MultipartError,
    MultipartReader,
    boundary_of,
)
from lungdet.errors import ConfigError
from lungdet.io.limits import MAX_BYTES
from lungdet.io.numbers import count_of

if TYPE_CHECKING:
    import httpx

MAX_LIST = 64 << 20  # bytes of a JSON list
MAX_REDIRECTS = 5
JSON = 'application/dicom+json'
DICOM = 'application/dicom'
# slices as they are stored, compressed or not
WHOLE = f'multipart/related; type="{DICOM}"; transfer-syntax=*'
T = TypeVar('T')


@dataclass(frozen=True)
class Patience:
    """Time limits and retries of requests.

    Attributes:
        connect: Seconds until the connection is established.
        idle: Seconds without data.
        listing: Seconds for a list, or for the response to an upload.
        series: Seconds for all slices of a series.
        tries: Number of attempts, if errors are transient, such as a lost
            connection.
        pause: Seconds before the second attempt; doubled for each further one.
    """

    connect: float = 10.0
    idle: float = 30.0
    listing: float = 120.0
    series: float = 3600.0
    tries: int = 3
    pause: float = 1.0


PATIENCE = Patience()


class Server:
    """A connection to a server, closed when the block ends.

    Args:
        root: Root of the DICOMweb service.
        patience: Time limits and retries.
        stopped: Called whenever data arrive; returns whether to give up.

    Raises:
        ConfigError: httpx is not installed, or credentials or certificates
            cannot be used.
    """

    def __init__(
        self,
        root: str,
        patience: Patience = PATIENCE,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.root = root
        self.patience = patience
        self.stopped = stopped
        headers = {
            'Accept-Encoding': 'identity',  # compression would hide the size
            'User-Agent': f'lungdet/{lungdet.__version__}',
        }
        if (credentials := authorization(root)) is not None:
            headers['Authorization'] = credentials
        self.client = _client(patience, headers)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()

    def patiently(self, action: Callable[[], T]) -> T:
        """Run an action, with retries after transient errors.

        Returns:
            The value of the action.

        Raises:
            ServerError: The error of the last attempt.
        """
        for tried in range(1, self.patience.tries + 1):
            try:
                return action()
            except ServerError as error:
                if not error.passing or self.stopped():
                    raise
                if tried == self.patience.tries:
                    raise ServerError(f'{error} Tried {tried} times.') from (
                        error
                    )
            sleep(self.patience.pause * 2 ** (tried - 1))
        raise AssertionError('no try')

    def get_list(self, path: str, **params: str) -> list[dict[str, Any]]:
        """Objects that match a query, in the DICOM JSON model.

        Args:
            path: Path below the root.
            params: Query parameters.

        Raises:
            ServerError: There is no response, or it is not such a list.
        """
        return self.patiently(lambda: self._list_once(path, params))

    def _list_once(self, path: str, params: dict[str, str]) -> list[dict]:
        url = f'{self.root}{path}'
        request = self.client.build_request(
            'GET', url, params=params, headers={'Accept': JSON}
        )
        with self._answer(request, url) as answer:
            check_status(answer, url)
            if answer.status_code == 204:  # an empty list
                return []
            values = self.read_json(answer, url)
        if not isinstance(values, list) or not all(
            isinstance(one, dict) for one in values
        ):
            raise ServerError(
                f'{url}: the server returned JSON that is not a list of DICOM '
                'objects; check that the address is that of a DICOMweb '
                'service.'
            )
        return values

    @contextmanager
    def get_parts(self, path: str) -> Iterator[Iterator[Iterator[bytes]]]:
        """Yield the files below a path, each as an iterator of bytes.

        Args:
            path: Path below the root.

        Raises:
            ServerError: There is no response, it is not a complete multipart
                message, or it exceeds the limits on bytes or time.
        """
        url = f'{self.root}{path}'
        request = self.client.build_request(
            'GET', url, headers={'Accept': WHOLE}
        )
        with self._answer(request, url) as answer:
            check_status(answer, url)
            check_type(answer, url, 'multipart/related')
            pieces = self._pieces(answer, url, MAX_BYTES, self.patience.series)
            try:
                boundary = boundary_of(answer.headers['content-type'])
                yield MultipartReader(pieces, boundary).parts()
            except MultipartError as error:
                raise ServerError(
                    f'{url}: the multipart message is broken: {error}; run '
                    'the same command again.',
                    passing=True,
                ) from error

    def post(self, path: str, body: bytes, content_type: str) -> Any:
        """Send a POST request.

        Args:
            path: Path below the root.
            body: Body of the request.
            content_type: Content type of the body.

        Returns:
            The JSON of the response; None if it is not JSON.

        Raises:
            ServerError: There is no response, or its status is an error other
                than 409.
        """
        return self.patiently(
            lambda: self._post_once(path, body, content_type)
        )

    def _post_once(self, path: str, body: bytes, content_type: str) -> Any:
        url = f'{self.root}{path}'
        request = self.client.build_request(
            'POST',
            url,
            content=body,
            headers={'Accept': JSON, 'Content-Type': content_type},
        )
        with self._answer(request, url) as answer:
            if answer.status_code != 409:  # no file stored; says why for each
                check_status(answer, url)
            try:
                return self.read_json(answer, url)
            except ServerError as error:
                if error.passing:
                    raise
                return None

    @contextmanager
    def _answer(
        self, request: httpx.Request, where: str
    ) -> Iterator[httpx.Response]:
        with plain_errors(where):
            answer = self._follow(request, where)
            try:
                yield answer
            finally:
                answer.close()

    def _follow(self, request: httpx.Request, where: str) -> httpx.Response:
        """Send a request and follow redirects.

        httpx could do so itself, but would read the bodies of the redirects,
        however large. It removes credentials when another server is next.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = self.client.send(request, stream=True)
            if (onward := answer.next_request) is None:
                return answer
            answer.close()
            if request.url.scheme == 'https' and onward.url.scheme == 'http':
                raise ServerError(
                    f'{where}: the server redirects to an address without '
                    'TLS; give the final address.'
                )
            if request.method != 'GET':
                raise ServerError(
                    f'{where}: the server redirects the upload; give the '
                    'final address.'
                )
            request = onward
        raise ServerError(
            f'{where}: the server redirects more than {MAX_REDIRECTS} times; '
            'check the address, and whether a login is required.'
        )

    def read_json(self, answer: httpx.Response, where: str) -> Any:
        """The JSON of a response.

        Raises:
            ServerError: It is not JSON, or too large.
        """
        check_type(answer, where, 'json')
        pieces = self._pieces(answer, where, MAX_LIST, self.patience.listing)
        content = b''.join(pieces)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ServerError(
                f'{where}: the server returned invalid JSON; check that the '
                'address is that of a DICOMweb service.'
            ) from error

    def _pieces(
        self, answer: httpx.Response, where: str, limit: int, seconds: float
    ) -> Iterator[bytes]:
        """The bytes of a response, bounded in size and time."""
        stated = answer.headers.get('content-length', '')
        if stated.isdecimal():
            length = count_of(stated)  # None: of too many digits
            check_size(limit + 1 if length is None else length, limit, where)
        started, size = monotonic(), 0
        for piece in answer.iter_raw():
            size += len(piece)
            check_size(size, limit, where)
            if self.stopped():
                raise ServerError(
                    f'{where}: interrupted; run the same command again.'
                )
            if monotonic() - started > seconds:
                raise ServerError(
                    f'{where}: not complete after {seconds:g} s ({size} '
                    'bytes); download the series into a folder and give its '
                    'path.'
                )
            yield piece


def _client(patience: Patience, headers: dict[str, str]) -> httpx.Client:
    try:
        import httpx
    except ImportError as error:
        raise ConfigError(
            'DICOMweb needs httpx, which is not installed; run pip install '
            "'lungdet[dicom]'."
        ) from error
    wait = httpx.Timeout(patience.idle, connect=patience.connect)
    try:
        return httpx.Client(timeout=wait, headers=headers)
    except (OSError, ValueError, httpx.InvalidURL) as error:
        raise ConfigError(
            f'environment: {error}; correct SSL_CERT_FILE or the proxy.'
        ) from error
