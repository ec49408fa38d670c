"""Changes of a file's bytes, determined by a random generator alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

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
