"""A DICOMweb server: bounded answers, and repeated tries."""

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

if TYPE_CHECKING:
    import httpx

MAX_LIST = 64 << 20  # bytes of a list
MAX_REDIRECTS = 5
JSON = 'application/dicom+json'
DICOM = 'application/dicom'
# compressed slices as they are, without a conversion on the server
WHOLE = f'multipart/related; type="{DICOM}"; transfer-syntax=*'
T = TypeVar('T')


@dataclass(frozen=True)
class Patience:
    """Time limits of requests, and how often one is tried.

    Attributes:
        connect: Seconds until it accepts a connection.
        idle: Seconds between two pieces of an answer.
        listing: Seconds for a list, or to store files.
        series: Seconds for all slices of a series.
        tries: Number of tries after a passing error, such as a cut connection.
        pause: Seconds before the second try, doubled before each later one.
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
        patience: Time limits and tries.
        stopped: Whether to give up; called between pieces of an answer.

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
            'Accept-Encoding': 'identity',  # sizes are unknown if compressed
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
        """The value of an action, which is tried again after a passing error.

        Raises:
            ServerError: The error of the last try.
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
        """Objects that match a query, in DICOM's JSON.

        Args:
            path: Below the root.
            params: Parameters of the query.

        Raises:
            ServerError: No answer, or not such a list.
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
                f'{url}: the server answers JSON that is no list of DICOM '
                'objects; check that the address is that of DICOMweb.'
            )
        return values

    @contextmanager
    def get_parts(self, path: str) -> Iterator[Iterator[Iterator[bytes]]]:
        """Yield the files below a path, each as an iterator over its pieces.

        Args:
            path: Below the root.

        Raises:
            ServerError: No answer, not a multipart message, a truncated one,
                or more bytes or seconds than a series can have.
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
                    'the same again.',
                    passing=True,
                ) from error

    def post(self, path: str, body: bytes, content_type: str) -> Any:
        """Status and JSON of the answer to a POST; None if it is not JSON.

        Args:
            path: Below the root.
            body: Sent as it is.
            content_type: Content type of the body.

        Raises:
            ServerError: No answer, or one that does not list single files.
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
            if answer.status_code != 409:  # none of the files was stored
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
        """The answer after redirections, whose bodies httpx would read.

        httpx removes credentials on the way to another server.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = self.client.send(request, stream=True)
            if (onward := answer.next_request) is None:
                return answer
            answer.close()
            if request.url.scheme == 'https' and onward.url.scheme == 'http':
                raise ServerError(
                    f'{where}: the server redirects to one without TLS; '
                    'give the address that was meant.'
                )
            if request.method != 'GET':
                raise ServerError(
                    f'{where}: the server redirects what is to be stored; '
                    'give the address that was meant.'
                )
            request = onward
        raise ServerError(
            f'{where}: the server redirects more than {MAX_REDIRECTS} times; '
            'check the address, and whether a login is missing.'
        )

    def read_json(self, answer: httpx.Response, where: str) -> Any:
        """The JSON of an answer.

        Raises:
            ServerError: It is not JSON, or too long.
        """
        check_type(answer, where, 'json')
        pieces = self._pieces(answer, where, MAX_LIST, self.patience.listing)
        content = b''.join(pieces)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ServerError(
                f'{where}: the server answers JSON that cannot be read; check '
                'that the address is that of DICOMweb.'
            ) from error

    def _pieces(
        self, answer: httpx.Response, where: str, limit: int, seconds: float
    ) -> Iterator[bytes]:
        """The bytes of an answer, bounded in size and time."""
        stated = answer.headers.get('content-length', '')
        size = int(stated) if stated.isdecimal() else 0
        check_size(size, limit, where)
        started, size = monotonic(), 0
        for piece in answer.iter_raw():
            size += len(piece)
            check_size(size, limit, where)
            if self.stopped():
                raise ServerError(f'{where}: interrupted; run it again.')
            if monotonic() - started > seconds:
                raise ServerError(
                    f'{where}: {size} bytes in {seconds:g} s, and no end; '
                    'fetch the series to a folder and give that.'
                )
            yield piece


def _client(patience: Patience, headers: dict[str, str]) -> httpx.Client:
    try:
        import httpx
    except ImportError as error:
        raise ConfigError(
            'addresses: need httpx, which is not installed; pip install '
            "'lungdet[dicom]'."
        ) from error
    wait = httpx.Timeout(patience.idle, connect=patience.connect)
    try:
        return httpx.Client(timeout=wait, headers=headers)
    except (OSError, ValueError, httpx.InvalidURL) as error:
        raise ConfigError(
            f'environment: {error}; correct SSL_CERT_FILE, or the proxy.'
        ) from error
