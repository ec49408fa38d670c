"""Tries the inputs of one target; run as a process, it may be killed.

Usage: python -m tests.fuzz.worker TARGET FOLDER SEED START CASES

Prints a line of JSON before and after each input.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lungdet.errors import LungdetError, explain
from tests.fuzz.corpus import CORPUS
from tests.fuzz.damage import damaged
from tests.fuzz.target import Reading, Target
from tests.fuzz.targets import TARGETS

MEMORY = 1 << 30  # bytes beyond what an intact input needs
SECONDS = 20  # for one input
MAX_MESSAGE = 3000  # characters of one line

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
        part = damaged(content[start:stop], rng, target.changes)
        path.write_bytes(content[:start] + part + content[stop:])

    return put


def inputs(target: Target, seed: int, cases: int) -> list[tuple[str, Put]]:
    """Files of other kinds, the corpus, then random damage, by name."""
    kinds: list[tuple[str, Put]] = [
        (one.__name__, one) for one in (empty, pipe, folder, dead_link)
    ]
    kinds += [
        (name, with_content(change))
        for name, change in CORPUS.get(target.name, {}).items()
    ]
    return kinds + [
        (f'random {k}', randomly(target, seed, k)) for k in range(cases)
    ]


def read(target: Target, path: Path) -> Reading:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        values, caveats = target.read(path)
    ours = [
        str(w.message) for w in caught if not w.filename.count('site-packages')
    ]
    return values, [*caveats, *ours]


def outcome(target: Target, path: Path, sound: Reading) -> tuple[str, str]:
    """The outcome of one input: a word, and the message."""
    try:
        values, caveats = read(target, path)
    except (LungdetError, OSError) as error:
        line = explain(error)
        clean = line.isprintable() and 10 < len(line) < MAX_MESSAGE
        return 'refused' if clean else 'FAILED: no clean line', line
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f'FAILED: {type(error).__name__}',
            f'{str(error)[:300]} ({where.filename}:{where.lineno})',
        )
    if values == sound[0]:
        return 'equal', ''
    if set(caveats) - set(sound[1]):
        return 'told', '; '.join(caveats)
    if target.checked:
        return 'FAILED: other values without a word', ''
    if target.agrees is not None and not target.agrees(path):
        return 'FAILED: not what another reader reads', ''
    return 'other', ''


def limit_memory() -> None:
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    name, base, seed, start, cases = sys.argv[1:]
    target = next(t for t in TARGETS if t.name == name)
    home = Path(base)
    shutil.rmtree(home / 'sound', ignore_errors=True)
    (home / 'sound').mkdir(parents=True)
    made = target.make(home / 'sound')
    sound = read(target, made)
    content, tail = made.read_bytes(), made.relative_to(home / 'sound')
    limit_memory()
    todo = inputs(target, int(seed), int(cases))
    for number in range(int(start), len(todo)):
        label, put = todo[number]
        print(json.dumps([number, label]), flush=True)
        shutil.rmtree(home / 'tried', ignore_errors=True)
        shutil.copytree(home / 'sound', home / 'tried', symlinks=True)
        path = home / 'tried' / tail
        put(path, content)
        signal.alarm(SECONDS)
        word, text = outcome(target, path, sound)
        signal.alarm(0)
        print(json.dumps([number, label, word, text]), flush=True)


if __name__ == '__main__':
    main()
