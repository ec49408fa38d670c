"""Tries the inputs of targets; run as a process, it may be killed.

Usage: python -m tests.fuzz.worker FOLDER SEED BUDGET START TARGET...

START is the first input of the first target. Prints a line of JSON before and
after each input: target, number, label, and then outcome and message.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path

from lungdet.errors import LungdetError, explain
from tests.fuzz.inputs import inputs
from tests.fuzz.servers import OPENED
from tests.fuzz.target import Reading, Target
from tests.fuzz.targets import TARGETS

MEMORY = 1 << 30  # bytes beyond what an intact input needs
SECONDS = 20  # for one input
MAX_MESSAGE = 3000  # characters of one line
TRIED = 'tried'  # folder of the input


def read(target: Target, path: Path) -> Reading:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        values, caveats = target.read(path)
    ours = [
        str(w.message) for w in caught if not w.filename.count('site-packages')
    ]
    return values, [*caveats, *ours]


def outcome(target: Target, path: Path, sound: Reading) -> tuple[str, str]:
    """The outcome of one input, and the message.

    ``equal``: the values of the intact file. ``told``: with a caveat.
    ``refused``: in one clean line that names the file. ``agreed``: other
    values, and the oracle says that the file states them. ``unknown``: other
    values, and nothing can tell whether they are right. All else has failed.
    """
    try:
        values, caveats = read(target, path)
    except (LungdetError, OSError) as error:
        line = explain(error)
        clean = line.isprintable() and 10 < len(line) < MAX_MESSAGE
        named = target.wire or target.by_key or f'/{TRIED}' in line
        if not named:
            return 'FAILED: the line does not name the file', line
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
    try:
        right = target.oracle(path)
    except Exception as error:  # the other reader cannot read it
        return 'FAILED: read, but not by the oracle', repr(error)[:300]
    if right is None:
        return 'unknown', ''
    return ('agreed', '') if right else ('FAILED: other values', '')


def limit_memory() -> None:
    """More by ``MEMORY`` than what the process has now."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def unlimited_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def try_target(
    target: Target, home: Path, seed: int, budget: float, start: int
) -> None:
    """Try all inputs of a target from one on."""
    unlimited_memory()
    shutil.rmtree(home, ignore_errors=True)
    (home / 'sound').mkdir(parents=True)
    made = target.make(home / 'sound')
    content, tail = made.read_bytes(), made.relative_to(home / 'sound')
    shutil.copytree(home / 'sound', home / TRIED, symlinks=True)
    sound = read(target, home / TRIED / tail)
    limit_memory()
    todo = inputs(target, seed, round(target.cases * budget))
    for number in range(start, len(todo)):
        label, put = todo[number]
        print(json.dumps([target.name, number, label]), flush=True)
        shutil.rmtree(home / TRIED, ignore_errors=True)
        shutil.copytree(home / 'sound', home / TRIED, symlinks=True)
        path = home / TRIED / tail
        put(path, content)
        signal.alarm(SECONDS)
        word, text = outcome(target, path, sound)
        signal.alarm(0)
        print(json.dumps([target.name, number, label, word, text]), flush=True)


def main() -> None:
    base, seed, budget, start, *names = sys.argv[1:]
    first = int(start)
    with OPENED:
        for name in names:
            target = next(t for t in TARGETS if t.name == name)
            home = Path(base) / name
            try_target(target, home, int(seed), float(budget), first)
            first = 0


if __name__ == '__main__':
    main()
