from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.dicomweb.multipart import (
    MAX_HEADER,
    MultipartError,
    MultipartReader,
    boundary_of,
    join_parts,
)

BOUNDARY = b'ab'
# parts of the delimiter, which a parser may mistake for the delimiter
contents = st.lists(
    st.lists(st.sampled_from([b'\r', b'\n', b'-', b'a', b'\r\n--a', b'xyz']))
    .map(b''.join)
    .filter(lambda text: b'\r\n--ab' not in b'\r\n\r\n' + text)
)


def pieces_of(message: bytes, size: int) -> list[bytes]:
    return [message[k : k + size] for k in range(0, len(message), size)]


def read(message: bytes, size: int = 1000) -> list[bytes]:
    reader = MultipartReader(pieces_of(message, size), BOUNDARY)
    return [b''.join(part) for part in reader.parts()]


@given(contents=contents, size=st.integers(1, 9))
def test_parts_are_read_however_they_are_torn(
    contents: list[bytes], size: int
) -> None:
    message = join_parts(contents, BOUNDARY, 'application/dicom')

    assert read(message, size) == contents


@given(contents=contents, data=st.data())
def test_a_message_that_is_cut_anywhere_is_refused(
    contents: list[bytes], data: st.DataObject
) -> None:
    whole = join_parts(contents, BOUNDARY, 'application/dicom').rstrip()
    end = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(MultipartError, match='ends before'):
        read(whole[:end])


def test_forms_that_are_allowed() -> None:
    """RFC 2046, 5.1.1: preamble, padding, no header lines, epilogue."""
    message = (
        b'preamble\r\n--ab \t\r\n\r\none\r\n--ab\r\nA: b\r\nC: d\r\n\r\n'
        b'\r\n--ab--\r\n--ab\r\n\r\nepilogue'
    )

    assert read(message) == [b'one', b'']
    assert read(b'--ab--') == []


@pytest.mark.parametrize(
    ('message', 'reason'),
    [
        (b'x' * (MAX_HEADER + 100), 'header exceeds'),
        (b'--ab\r\nA: ' + b'b' * (MAX_HEADER + 100), 'header exceeds'),
        (b'--ab' + b' ' * (MAX_HEADER + 100), 'header exceeds'),
        (b'--abc\r\n\r\none\r\n--abc--', 'followed by something else'),
    ],
)
def test_what_is_no_multipart_message(message: bytes, reason: str) -> None:
    with pytest.raises(MultipartError, match=reason):
        read(message)


def test_memory_is_bounded_by_the_pieces() -> None:
    pieces = [b'--ab\r\n\r\n', *[b'x' * 1000] * 500, b'\r\n--ab--']
    reader = MultipartReader(pieces, BOUNDARY)

    (part,) = (
        [(len(piece), len(reader.buffer)) for piece in one]
        for one in reader.parts()
    )

    assert sum(size for size, _ in part) == 500 * 1000
    assert max(held for _, held in part) < 2100


@pytest.mark.parametrize(
    ('header', 'boundary'),
    [
        ('multipart/related; type="application/dicom"; boundary=a-b', b'a-b'),
        ('Multipart/Related; Boundary="a b"', b'a b'),
    ],
)
def test_the_boundary_of_a_header(header: str, boundary: bytes) -> None:
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    'header', ['application/dicom; boundary=x', 'multipart/related', '']
)
def test_headers_without_a_boundary(header: str) -> None:
    with pytest.raises(MultipartError, match='not multipart/related'):
        boundary_of(header)
