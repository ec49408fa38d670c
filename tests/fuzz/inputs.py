"""What is tried in place of an intact file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.fuzz.corpus import CORPUS
from tests.fuzz.damage import MUTATORS
from tests.fuzz.target import Target

Put = Callable[[Path, bytes], None]


def pipe(path: Path, content: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, content: bytes) -> None:
    path.unlink()
    path.mkdir()


def dead_link(path: Path, content: bytes) -> None:
    path.unlink()
    path.symlink_to(path.parent / 'nothing')


def empty(path: Path, content: bytes) -> None:
    path.write_bytes(b'')


def with_content(change: Callable[[bytes], bytes]) -> Put:
    return lambda path, content: path.write_bytes(change(content)) and None


def randomly(target: Target, seed: int, number: int) -> Put:
    """The input of a number, independent of those tried before."""

    def put(path: Path, content: bytes) -> None:
        rng = np.random.default_rng(
            [seed, zlib.crc32(target.name.encode()), number]
        )
        start, stop = target.part(content)
        part = MUTATORS[target.container](content[start:stop], rng)
        path.write_bytes(content[:start] + part + content[stop:])

    return put


def inputs(target: Target, seed: int, cases: int) -> list[tuple[str, Put]]:
    """Files of other kinds, the corpus, then random damage, by name."""
    others = (empty,) if target.wire else (empty, pipe, folder, dead_link)
    kinds: list[tuple[str, Put]] = [(one.__name__, one) for one in others]
    kinds += [
        (name, with_content(change))
        for name, change in CORPUS.get(target.name, {}).items()
    ]
    return kinds + [
        (f'random {k}', randomly(target, seed, k)) for k in range(cases)
    ]
