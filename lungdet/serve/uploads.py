"""Uploads: a multipart form with one file, written piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from lungdet.errors import NO_SPACE
from lungdet.io.atomic import sync
from lungdet.io.image import SUFFIXES
from lungdet.io.numbers import count_of
from lungdet.serve.jobs import Job
from lungdet.serve.limits import Refusal, in_units
from lungdet.serve.storage import JobStorage

FIELD = 'scan'
HEADER_ONLY = '.mhd'  # the voxels are in another file
TAKEN = (*(s for s in SUFFIXES if s != HEADER_ONLY), '.zip')
FORM_BYTES = 65_536  # allowance for the form around the file
PIECE = 1 << 20  # bytes that are buffered before they are written
DRAIN_SECONDS = 30.0  # limit for reading the rest of a refused upload


async def receive_scan(request: Request, storage: JobStorage) -> Job:
    """Store the scan of a form and create its job.

    Disk space is reserved before the first byte is read. Of the client's file
    name, only the suffix is used.

    Args:
        request: A request whose body is multipart/form-data.
        storage: Storage of the job.

    Raises:
        Refusal: Status 400, 408, 413, 415, 429 or 507.
    """
    try:
        return await _receive(request, storage)
    except Refusal as refusal:
        too_large = refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if not too_large and 'expect' not in request.headers:
            await _drain(request, storage.limits.upload_bytes)
        raise


async def _receive(request: Request, storage: JobStorage) -> Job:
    limits = storage.limits
    boundary = _boundary(request.headers)
    with storage.reserved(_announced(request, limits.upload_bytes)) as kept:
        form = ScanForm(boundary, kept.folder, limits.upload_bytes)
        try:
            with anyio.fail_after(limits.upload_seconds):
                await _copy(request, form)
        except TimeoutError as error:
            raise Refusal(
                HTTPStatus.REQUEST_TIMEOUT,
                f'the upload took longer than {limits.upload_seconds:g} s; '
                'use a faster connection.',
            ) from error
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            raise Refusal(
                HTTPStatus.INSUFFICIENT_STORAGE,
                'the disk of the server is full; send the scan again later.',
            ) from error
        finally:
            form.close()
        suffix, size = form.scan()
        return await run_sync(storage.accept, kept, suffix, size)


async def _copy(request: Request, form: ScanForm) -> None:
    """Parse the body piece by piece, outside the event loop."""
    piece = bytearray()
    async for chunk in request.stream():
        piece += chunk
        if len(piece) >= PIECE:
            await run_sync(form.feed, bytes(piece))
            piece.clear()
    await run_sync(form.end, bytes(piece))


def _announced(request: Request, limit: int) -> int:
    """Size of the scan by Content-Length, or the limit without it."""
    stated = request.headers.get('content-length', '')
    if not stated.isdecimal():
        return limit
    length = count_of(stated)  # None: of too many digits
    return limit + 1 if length is None else max(0, length - FORM_BYTES)


def _boundary(headers: Mapping[str, str]) -> bytes:
    """The boundary between the parts of a form.

    Raises:
        Refusal: The body is not a multipart form.
    """
    kind, options = parse_options_header(headers.get('content-type'))
    if kind == b'multipart/form-data' and options.get(b'boundary'):
        return options[b'boundary']
    raise Refusal(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f'send the scan as the file "{FIELD}" of a multipart/form-data form.',
    )


async def _drain(request: Request, limit: int) -> None:
    """Read the rest of a body. Otherwise a client that is still sending would
    be disconnected before it receives the response."""
    size = 0
    with suppress(Exception), anyio.move_on_after(DRAIN_SECONDS):
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                return


class ScanForm:
    """Parser of a multipart form with one file.

    Args:
        boundary: Boundary between the parts.
        folder: Folder that the file is written to.
        limit: Largest size of the file in bytes.
    """

    def __init__(self, boundary: bytes, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.suffix: str | None = None
        self.size = 0
        self.is_whole = False
        self._file: BinaryIO | None = None
        self._name, self._value = b'', b''
        self._headers: dict[bytes, bytes] = {}
        callbacks: Any = {
            'on_header_field': self._on_header_field,
            'on_header_value': self._on_header_value,
            'on_header_end': self._on_header_end,
            'on_headers_finished': self._on_headers_finished,
            'on_part_data': self._on_part_data,
            'on_end': self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _broken(error) from error

    def feed(self, piece: bytes) -> None:
        """Parse the next bytes, and write those of the file.

        Raises:
            Refusal: The form does not have exactly one file, or the file is
                too large.
            OSError: The disk is full.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _broken(error) from error

    def end(self, piece: bytes) -> None:
        """Parse the last bytes, and flush the file to disk.

        Raises:
            Refusal, OSError: As in ``feed``.
        """
        self.feed(piece)
        if self._file is not None:
            self._file.flush()
            sync(self._file.fileno())

    def scan(self) -> tuple[str, int]:
        """Suffix and size in bytes of the scan.

        Raises:
            Refusal: There is no scan, or it is incomplete or empty.
        """
        if self.suffix is None or not self.is_whole:
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                f'the form has no complete file "{FIELD}"; send one scan.',
            )
        if self.size == 0:
            raise Refusal(
                HTTPStatus.BAD_REQUEST, 'the file is empty; send a scan.'
            )
        return self.suffix, self.size

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _on_header_field(self, piece: bytes, start: int, end: int) -> None:
        self._name += piece[start:end]

    def _on_header_value(self, piece: bytes, start: int, end: int) -> None:
        self._value += piece[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b'', b''

    def _on_headers_finished(self) -> None:
        """Check that a new part is the scan, and open its file."""
        stated = self._headers.get(b'content-disposition', b'')
        self._headers = {}
        _, options = parse_options_header(stated.decode('latin-1'))
        if options.get(b'name') != FIELD.encode() or self.suffix is not None:
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                f'the form must have a single part, the file "{FIELD}".',
            )
        self.suffix = checked_suffix(
            options.get(b'filename', b'').decode('utf-8', 'replace')
        )
        self._file = open(self.folder / f'scan{self.suffix}', 'xb')

    def _on_part_data(self, piece: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > self.limit:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f'the scan exceeds the limit of {in_units(self.limit)}; send '
                'a single series, compressed.',
            )
        if self._file is not None:
            self._file.write(memoryview(piece)[start:end])

    def _on_end(self) -> None:
        self.is_whole = True


def checked_suffix(name: str) -> str:
    """The suffix of a file name, one of ``TAKEN``.

    Args:
        name: File name that the client sent.

    Raises:
        Refusal: The name has another suffix.
    """
    lower = name.lower()
    for suffix in sorted(TAKEN, key=len, reverse=True):
        if lower.endswith(suffix):
            return suffix
    if lower.endswith(HEADER_ONLY):
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            'an .mhd file has its voxels in a separate file; send a zip of '
            'both.',
        )
    raise Refusal(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        'files with this suffix are not accepted; send one of '
        f'{", ".join(TAKEN)} (DICOM slices as a zip).',
    )


def _broken(error: FormParserError) -> Refusal:
    return Refusal(
        HTTPStatus.BAD_REQUEST,
        f'the form cannot be parsed ({type(error).__name__}); send one file.',
    )
