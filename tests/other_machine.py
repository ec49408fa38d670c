"""A system that lacks what only POSIX or Linux has, as far as it can be
simulated.

``simulate`` runs before anything else in a process and all of its children
(``sitecustomize``). Modules are hidden from lungdet only: other libraries
choose theirs by the name of the system, which stays. It cannot simulate
another file system's names, locks of open files, or other binaries.
"""

from __future__ import annotations

import builtins
import errno
import multiprocessing
import os
import signal
import stat
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
POSIX_MODULES = {
    *('resource', 'fcntl', 'pwd', 'grp', 'termios', 'tty', 'pty', 'syslog'),
    *('posix', 'readline', 'curses'),
}
POSIX_FUNCTIONS = (
    *('fork', 'forkpty', 'uname', 'sched_getaffinity', 'sched_setaffinity'),
    *('getuid', 'geteuid', 'getgid', 'getegid', 'setsid', 'killpg', 'nice'),
    *('mkfifo', 'getloadavg', 'fchmod', 'chown', 'fchown', 'getpgid'),
    *('getpgrp', 'posix_fadvise', 'posix_fallocate', 'fdatasync', 'sync'),
    *('O_DIRECTORY', 'O_NOFOLLOW', 'O_SYNC'),
)
# which other libraries use without a check where the system is Linux
LEFT = ('uname', 'getuid')
POSIX_SIGNALS = (
    *('SIGKILL', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGQUIT'),
    *('SIGPIPE', 'alarm', 'setitimer', 'pause'),
)


def simulate() -> None:
    """Take away what Windows lacks; folders can be neither opened nor synced,
    processes start anew, and text has no default encoding."""
    for name in POSIX_FUNCTIONS:
        if hasattr(os, name) and name not in LEFT:
            delattr(os, name)
    for name in POSIX_SIGNALS:
        if hasattr(signal, name):
            delattr(signal, name)
    hide_modules()
    refuse_folders()
    multiprocessing.set_start_method('spawn')
    warnings.filterwarnings(
        'error', category=EncodingWarning, module=r'lungdet(\..*)?'
    )


def hide_modules() -> None:
    """Let lungdet's imports of POSIX modules fail."""
    import_module = builtins.__import__

    def other_import(
        name: str, globals: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        importer = (globals or {}).get('__name__') or ''
        of_ours = importer.split('.')[0] in ('lungdet', '__main__')
        if of_ours and name.split('.')[0] in POSIX_MODULES:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        return import_module(name, globals, *args, **kwargs)

    builtins.__import__ = other_import


def refuse_folders() -> None:
    """Let ``os.open`` refuse folders as Windows does, and ``os.fsync``."""
    open_file, sync = os.open, os.fsync

    def other_open(path: Any, *args: Any, **kwargs: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return open_file(path, *args, **kwargs)

    def other_sync(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, 'Invalid argument')
        sync(number)

    os.open, os.fsync = other_open, other_sync


def environment(folder: Path) -> dict[str, str]:
    """Variables of a process, and its children, on the other machine.

    Args:
        folder: An empty one, for what Python runs first.
    """
    lines = 'from tests.other_machine import simulate\n\nsimulate()\n'
    (folder / 'sitecustomize.py').write_text(lines, encoding='utf-8')
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(folder), str(ROOT)]),
        'PYTHONWARNDEFAULTENCODING': '1',
        'PYTHONIOENCODING': 'cp1252:strict',
    }
