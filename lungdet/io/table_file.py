"""A csv file, plain or gzipped, read once in bounded memory."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import IO

from lungdet.errors import AnnotationError, printable
from lungdet.io.files import open_or_pipe

MAX_TABLE_BYTES = 1_000_000_000  # unpacked; 888 scans x 10,000 marks fit
MAX_LINES = 20_000_000
MAX_LINE_BYTES = 1 << 20
CHUNK_BYTES = 1 << 18
GZIP = b'\x1f\x8b'


class TableFile:
    """The content of a table, read from the file at first use and kept.

    A pipe, such as the shell's ``<(...)``, can be read only once, but the
    digest and the rows are both needed.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Its name in messages: the file's name, or the path of a pipe."""
        is_pipe = self.path.parent.name == 'fd'
        return printable(str(self.path) if is_pipe else self.path.name)

    @cached_property
    def content(self) -> bytes:
        """The raw bytes, compressed or not.

        Raises:
            AnnotationError: More than any table needs.
        """
        opened, first = open_or_pipe(self.path, error=AnnotationError)
        content = bytearray(first)
        with opened as file:
            self._check_size(file)
            while block := file.read(CHUNK_BYTES):
                content += block
                if len(content) > MAX_TABLE_BYTES:  # of a pipe
                    raise self._too_long('holds')
        return bytes(content)

    def _check_size(self, file: IO[bytes]) -> None:
        """Refuse a file of known size before it is read."""
        if not file.seekable():
            return
        if file.seek(0, io.SEEK_END) > MAX_TABLE_BYTES:
            raise self._too_long('holds')
        file.seek(0)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the raw bytes."""
        return sha256(self.content).hexdigest()

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line, cells) of every row, the header and blank ones included.

        Raises:
            AnnotationError: Not text, not csv, damaged, or too long.
        """
        reader = csv.reader(self._lines())
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise AnnotationError(
                f'{self}:{reader.line_num}: {error}; a quote was opened and '
                'not closed, or this is not a csv file. Correct the line.'
            ) from error

    def _lines(self) -> Iterator[str]:
        """Lines with their line ends, of any system."""
        number, position = 0, 0
        for block in self._blocks():
            try:
                text = block.decode('utf-8-sig' if not position else 'utf-8')
            except UnicodeDecodeError as error:
                raise AnnotationError(
                    f'{self}: not UTF-8 text ({error.reason} at byte '
                    f'{position + error.start}); a packed or spreadsheet file '
                    'is not read. Save it as plain csv.'
                ) from error
            if '\0' in text:
                raise AnnotationError(
                    f'{self}: holds zero bytes; it is damaged or not a csv '
                    'file. Copy it again.'
                )
            position += len(block)
            for line in io.StringIO(text, newline=''):
                number += 1
                if number > MAX_LINES:
                    raise self._too_long('has', f'{MAX_LINES:.0e} lines')
                yield line

    def _blocks(self) -> Iterator[bytes]:
        """The unpacked bytes in chunks that end at a line end."""
        rest = b''
        for chunk in self._chunks():
            rest += chunk
            # a \r at the very end may be half of a line end
            end = max(rest.rfind(b'\n'), rest.rfind(b'\r', 0, -1)) + 1
            if not end and len(rest) > MAX_LINE_BYTES:
                raise self._too_long('has a line of', f'{MAX_LINE_BYTES:,} B')
            if end:
                yield rest[:end]
                rest = rest[end:]
        if rest:
            yield rest

    def _chunks(self) -> Iterator[bytes]:
        packed = self.content.startswith(GZIP)
        raw = io.BytesIO(self.content)
        total = 0
        try:
            with gzip.open(raw) if packed else raw as file:
                while chunk := file.read(CHUNK_BYTES):
                    total += len(chunk)
                    if total > MAX_TABLE_BYTES:
                        raise self._too_long('unpacks to')
                    yield chunk
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise AnnotationError(
                f'{self}: cannot be unpacked ({error}); the file is cut or '
                'damaged. Copy it again.'
            ) from error

    def _too_long(self, verb: str, limit: str = '') -> AnnotationError:
        limit = limit or f'{MAX_TABLE_BYTES:.0e} bytes'
        return AnnotationError(
            f'{self}: {verb} more than {limit}, which no table of marks '
            'needs. Write fewer marks per scan.'
        )


Table = str | Path | TableFile


def as_table(table: Table) -> TableFile:
    """The table file of a path; an open one is returned as it is."""
    return table if isinstance(table, TableFile) else TableFile(table)
