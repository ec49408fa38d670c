"""How many threads compute, and how they wait for each other.

OpenMP reads its environment when torch loads it. So programs call
``set_threads`` before they import torch; their children inherit the values.
What the user has set is kept.

GNU's OpenMP lets a thread that waits spin for about a millisecond first. Where
other programs use the same processors, spinning takes time from the very
thread that is waited for: ``benchmarks/threads.py`` measures the cost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

# GOMP_SPINCOUNT counts loops (default about 300,000), KMP_BLOCKTIME of the
# OpenMP of LLVM and Intel counts milliseconds (default 200)
SHORT_SPIN = {'GOMP_SPINCOUNT': '1000', 'KMP_BLOCKTIME': '1'}
WAIT_VARIABLES = ('OMP_WAIT_POLICY', *SHORT_SPIN)
THREAD_VARIABLES = (
    'OMP_NUM_THREADS',
    'MKL_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'BLOSC_NTHREADS',
    'ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS',
)


def set_threads(
    environ: MutableMapping[str, str] = os.environ, root: Path = Path('/')
) -> None:
    """Set a short spin, and no more threads than processors.

    OpenMP knows the affinity of the process but not the quota of its control
    group: with 64 processors and a quota of 2 it starts 64 threads, and each
    step lasts until the slowest of them has had its turn.

    Args:
        environ: Changed, except for what is set.
        root: Root of the file system.
    """
    if not any(name in environ for name in WAIT_VARIABLES):
        environ.update(SHORT_SPIN)
    cpus = available_cpus(root)
    if cpus < affine_cpus():
        environ.setdefault('OMP_NUM_THREADS', str(cpus))


def set_one_thread(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set one thread, for a process that is one of several.

    Args:
        environ: Changed, except for what is set.
    """
    for name in THREAD_VARIABLES:
        environ.setdefault(name, '1')


def set_thread_number(
    number: int, environ: MutableMapping[str, str] = os.environ
) -> None:
    """Let every library start this many threads, even if more were set.

    Args:
        number: Number of threads, above 0.
        environ: Changed; torch must not be loaded yet.
    """
    for name in THREAD_VARIABLES:
        environ[name] = str(number)


def available_cpus(root: Path = Path('/')) -> int:
    """Processors that this process may use, at least 1.

    Args:
        root: Root of the file system.
    """
    # rounded down: a thread that is out of quota holds up all others
    quotas = [int(quota) for quota in _quotas(root)]
    return max(1, min([affine_cpus(), *quotas]))


def affine_cpus() -> int:
    """Processors that this process may be scheduled on."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def _quotas(root: Path) -> Iterator[float]:
    """Processors that the control groups of this process allow."""
    mount = root / 'sys/fs/cgroup'
    for controllers, group in _groups(root):
        if not controllers:  # version 2
            for folder in _with_parents(mount, group):
                yield from _ratio(_words(folder / 'cpu.max'))
        elif 'cpu' in controllers.split(','):
            for name in (controllers, 'cpu'):
                for folder in _with_parents(mount / name, group):
                    quota = _words(folder / 'cpu.cfs_quota_us')
                    period = _words(folder / 'cpu.cfs_period_us')
                    yield from _ratio([*quota, *period])


def _groups(root: Path) -> Iterator[tuple[str, str]]:
    """(controllers, path) of each hierarchy; version 2 names none."""
    for line in _text(root / 'proc/self/cgroup').splitlines():
        _, _, rest = line.partition(':')
        controllers, colon, group = rest.partition(':')
        if colon:
            yield controllers, group


def _with_parents(mount: Path, group: str) -> Iterator[Path]:
    """The folder of a group and those above it, which limit it too.

    In a container the path may be that of the host, and only the mount
    itself exists.
    """
    folder = mount / group.lstrip('/')
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    """Text of a system file, empty if there is none."""
    try:
        return path.read_text(encoding='utf-8')
    except (OSError, ValueError):
        return ''


def _ratio(words: list[str]) -> Iterator[float]:
    """Quota over period; "max" and -1 are no limit."""
    try:
        quota, period = map(float, words)
    except ValueError:
        return
    if quota > 0 and period > 0:
        yield quota / period
