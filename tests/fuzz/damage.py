"""Damage of a file, determined by a random generator alone.

``MUTATORS`` has one function for each kind of container. Those of JSON and of
archives also make files that are sound outside and hostile inside: values are
replaced and the checksums made right again.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lungdet.io.json_file import DIGEST, digest_of

WORD = re.compile(rb'[\w.+-]+')
HOSTILE = (
    b'',
    b'0',
    b'-1',
    b'nan',
    b'inf',
    b'1e308',
    b'1_0',
    b'9' * 25,
    b'9' * 400,
    b'null',
    b'true',
    b'"x"',
    b'{}',
    b'[]',
    b'[' * 3000,
    b'A' * 5000,
    b'\0',
    b'\xff\xfe',
    b'\x1b[2J',
    b'../x',
    b'\n\n',
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2, 0.5, 1e308, -1e-308, 2**63, 10**400),
    *(
        float('nan'),
        float('inf'),
        '',
        'x',
        '../x',
        'nan',
        '\x1b[2J',
        'A' * 5000,
    ),
    *([], {}, [[]], [0], ['x'], {'x': 1}, [None] * 3, [0.5] * 6, '\ud800'),
)
NUMBERS = (
    np.array([-1, 0, 1, 2, 512, 32767], '<i2'),
    np.array([-1, 0, 1, 1 << 30], '<i4'),
    np.array([np.nan, np.inf, -np.inf, 0, -1, 1e-30, 3e38], '<f4'),
    np.array([0xFFFFFFFFFFFFFFFF], '<u8'),
)

Change = Callable[[bytearray, np.random.Generator], None]


def _at(content: bytearray, rng: np.random.Generator) -> int:
    return int(rng.integers(max(len(content), 1)))


def flip_bits(content: bytearray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        if content:
            content[_at(content, rng)] ^= 1 << int(rng.integers(8))


def set_bytes(content: bytearray, rng: np.random.Generator) -> None:
    numbers = NUMBERS[rng.integers(len(NUMBERS))]
    value = numbers[rng.integers(len(numbers))].tobytes()
    at = _at(content, rng)
    content[at : at + len(value)] = value[: max(len(content) - at, 0)]


def cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[_at(content, rng) :]


def drop(content: bytearray, rng: np.random.Generator) -> None:
    at = _at(content, rng)
    del content[at : at + int(rng.integers(1, 64))]


def repeat(content: bytearray, rng: np.random.Generator) -> None:
    at = _at(content, rng)
    part = content[at : at + int(rng.integers(1, 200))]
    content[at:at] = part * int(rng.choice([1, 1, 2, 500]))


def replace_word(content: bytearray, rng: np.random.Generator) -> None:
    words = [match.span() for match in WORD.finditer(content[: 1 << 16])]
    if words:
        start, stop = words[rng.integers(len(words))]
        content[start:stop] = HOSTILE[rng.integers(len(HOSTILE))]


def swap_lines(content: bytearray, rng: np.random.Generator) -> None:
    lines = bytes(content).split(b'\n')
    a, b = rng.integers(len(lines), size=2)
    lines[a], lines[b] = lines[b], lines[a]
    content[:] = b'\n'.join(lines)


def copy_line(content: bytearray, rng: np.random.Generator) -> None:
    lines = bytes(content).split(b'\n')
    lines.insert(
        int(rng.integers(len(lines) + 1)), lines[rng.integers(len(lines))]
    )
    content[:] = b'\n'.join(lines)


BINARY: tuple[Change, ...] = (flip_bits, set_bytes, cut, drop, repeat)
TEXT: tuple[Change, ...] = (
    flip_bits,
    cut,
    drop,
    repeat,
    replace_word,
    replace_word,
    swap_lines,
    copy_line,
)


def damaged(
    content: bytes, rng: np.random.Generator, changes: tuple[Change, ...]
) -> bytes:
    """The content with one change, sometimes two."""
    result = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 2]))):
        changes[rng.integers(len(changes))](result, rng)
    return bytes(result)


Node = tuple[Any, Any]  # a list or object, and one of its keys


def _nodes(value: Any) -> Iterator[Node]:
    """Every value of JSON, by where it is kept."""
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        yield value, key
        if isinstance(value[key], list | dict):
            yield from _nodes(value[key])


def _signed(value: Any) -> Any:
    """The same with every checksum made right."""
    if isinstance(value, list):
        return [_signed(one) for one in value]
    if not isinstance(value, dict):
        return value
    values = {key: _signed(one) for key, one in value.items()}
    if DIGEST in values:
        values[DIGEST] = digest_of(values)
    return values


def of_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    return damaged(content, rng, BINARY)


def of_text(content: bytes, rng: np.random.Generator) -> bytes:
    return damaged(content, rng, TEXT)


def of_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Text damage, or another value in an object that stays signed."""
    if rng.random() < 0.4:
        return of_text(content, rng)
    values = json.loads(content)
    nodes = list(_nodes(values))
    parent, key = nodes[rng.integers(len(nodes))]
    other, other_key = nodes[rng.integers(len(nodes))]
    match int(rng.integers(4)):
        case 0:
            del parent[key]
        case 1:
            parent[key] = json.loads(json.dumps(other[other_key]))
        case _:
            parent[key] = VALUES[rng.integers(len(VALUES))]
    if rng.random() < 0.7:
        values = _signed(values)
    return json.dumps(values).encode()


def of_zip(content: bytes, rng: np.random.Generator) -> bytes:
    """Damaged bytes, or a damaged member packed with a right checksum."""
    if rng.random() < 0.4:
        return of_bytes(content, rng)
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(packed, 'w') as other,
    ):
        members = archive.infolist()
        chosen = members[rng.integers(len(members))]
        for member in members:
            inside = archive.read(member)
            if member is chosen:
                # names and sizes stand in front
                head = damaged(inside[:600], rng, (*BINARY, *TEXT))
                inside = head + inside[600:]
            other.writestr(member, inside)
    return packed.getvalue()


def of_gzip(content: bytes, rng: np.random.Generator) -> bytes:
    """Damaged bytes, or damaged text packed again."""
    if rng.random() < 0.5:
        return of_bytes(content, rng)
    return gzip.compress(of_text(gzip.decompress(content), rng), mtime=0)


Mutator = Callable[[bytes, np.random.Generator], bytes]
MUTATORS: dict[str, Mutator] = {
    'bytes': of_bytes,
    'text': of_text,
    'json': of_json,
    'zip': of_zip,
    'gzip': of_gzip,
}
