"""Multipart messages of DICOMweb, parsed as a stream in bounded memory.

Source: RFC 2046 section 5.1; DICOM PS3.18 section 8.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from email.message import Message

MAX_HEADER = 64 * 1024  # bytes of a part's header, or before the first part
LINE, END = b'\r\n', b'--'


class MultipartError(ValueError):
    """A message that is truncated, or not multipart."""


def boundary_of(content_type: str) -> bytes:
    """The boundary between the parts of a message.

    Args:
        content_type: Its ``Content-Type`` header.

    Raises:
        MultipartError: The type is not multipart/related, or there is no
            boundary.

    Examples:
        >>> boundary_of('multipart/related; boundary="a b"')
        b'a b'
    """
    header = Message()
    header['Content-Type'] = content_type
    boundary = header.get_boundary()
    if header.get_content_type() != 'multipart/related' or not boundary:
        raise MultipartError(
            f'the type is {header.get_content_type()!r}, not multipart/related'
        )
    return boundary.encode('latin-1', 'replace')


class MultipartReader:
    """Iterates over the parts of a message; each part is an iterator of bytes.

    Args:
        pieces: The message, in pieces of any size.
        boundary: As returned by ``boundary_of``.

    Examples:
        >>> message = b'--x\\r\\nA: b\\r\\n\\r\\none\\r\\n--x--'
        >>> [b''.join(p) for p in MultipartReader([message], b'x').parts()]
        [b'one']
    """

    def __init__(self, pieces: Iterable[bytes], boundary: bytes) -> None:
        self.pieces = iter(pieces)
        self.delimiter = LINE + END + boundary
        # the first boundary needs no line break before it
        self.buffer = bytearray(LINE)

    def parts(self) -> Iterator[Iterator[bytes]]:
        """The content of each part; read it before you take the next part.

        Raises:
            MultipartError: The message ends before its last boundary, or a
                header is too long.
        """
        self._skip(self.delimiter)
        while not self._ends():
            self._skip(LINE * 2)
            yield self._until(self.delimiter)

    def _ends(self) -> bool:
        """Read what follows a boundary: ``--`` ends the message."""
        while len(self.buffer) < len(END):
            self._more()
        if self.buffer.startswith(END):
            return True
        padding = b''.join(self._until(LINE, MAX_HEADER))
        if padding.strip():
            raise MultipartError('a boundary is followed by something else')
        # a part without header lines begins with an empty line
        self.buffer[:0] = LINE
        return False

    def _skip(self, mark: bytes) -> None:
        for _ in self._until(mark, MAX_HEADER):
            pass

    def _until(self, mark: bytes, limit: int | None = None) -> Iterator[bytes]:
        """The bytes before a mark; the mark is consumed, too."""
        size, kept = 0, len(mark) - 1  # the mark may be split between pieces
        while (at := self.buffer.find(mark)) < 0:
            ready = len(self.buffer) - kept
            if ready > 0:
                size += ready
                if limit is not None and size > limit:
                    raise MultipartError(f'a header exceeds {limit} bytes')
                yield bytes(self.buffer[:ready])
                del self.buffer[:ready]
            self._more()
        yield bytes(self.buffer[:at])
        del self.buffer[: at + len(mark)]

    def _more(self) -> None:
        piece = next(self.pieces, None)
        if piece is None:
            raise MultipartError('it ends before its last boundary')
        self.buffer += piece


def join_parts(
    contents: Sequence[bytes], boundary: bytes, content_type: str
) -> bytes:
    """Join parts of one content type into a message.

    Args:
        contents: Content of each part; must not contain the boundary.
        boundary: Boundary between the parts.
        content_type: Content type of all parts.
    """
    message = bytearray()
    for content in contents:
        message += END + boundary + LINE
        message += f'Content-Type: {content_type}'.encode() + LINE * 2
        message += content + LINE
    return bytes(message + END + boundary + END + LINE)
