"""Expected errors as one line and an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ExtensionFileLoader
from multiprocessing.process import BaseProcess
from threading import Timer, current_thread, main_thread
from types import FrameType
from typing import Any, NoReturn

from tqdm import tqdm

from lungdet.errors import CLOSED, INTERRUPTED, LungdetError, explain

CONTINUE = 'run the same command again to continue.'
LATER = 0.05  # seconds until a Ctrl-C that came too early is sent again
# signals that interrupt, with the handlers that Python starts with
USUAL = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
STARTS_PROCESS = BaseProcess.start.__code__
IN_PROCESS = BaseProcess._bootstrap.__code__  # type: ignore[attr-defined]


@contextmanager
def clean_errors(program: str, *, debug: bool = False) -> Iterator[None]:
    """Turn expected errors into one line on stderr and an exit code.

    The line of an interruption says that the same command continues, unless
    the KeyboardInterrupt has another ``advice``.

    Args:
        program: The name in front of the line.
        debug: Show the traceback instead.

    Raises:
        SystemExit: 2 for bad usage or input, 130 if interrupted, 141 if nobody
            reads what is printed, as after ``| head``.
    """
    with warnings.catch_warnings(), interrupts() as interrupted:
        warnings.showwarning = partial(_show_warning, program)
        try:
            try:
                yield
            finally:
                sys.stdout.flush()
        except Exception as error:
            if interrupted:
                _stop(program, error)
            if isinstance(error, BrokenPipeError) and output_is_closed():
                raise SystemExit(CLOSED) from error
            if debug or not isinstance(error, LungdetError | OSError):
                raise
            print(f'{program}: {explain(error)}', file=sys.stderr)
            raise SystemExit(2) from error
        except KeyboardInterrupt as error:
            _stop(program, error)


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Note each Ctrl-C, and raise KeyboardInterrupt as Python does; also for
    SIGTERM, which a scheduler sends before it kills.

    Some libraries catch whatever is raised in them and raise an error of their
    own, which hides the cause.

    Yields:
        A list, empty until then.
    """
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        if _does_harm_in(frame):
            Timer(LATER, os.kill, (os.getpid(), number)).start()
            return
        raise KeyboardInterrupt

    if current_thread() is not main_thread():
        yield noted
        return
    # one that has another handler is left to it
    usual = {k: v for k, v in USUAL.items() if signal.getsignal(k) == v}
    for number in usual:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _does_harm_in(frame: FrameType | None) -> bool:
    """Whether an error raised in a frame would do harm, or be lost.

    Logging runs around forks, where Python only prints what is raised. After
    an error in a compiled module while it is loaded, matplotlib's abort the
    process when it ends. A process whose start is given up halfway prints a
    traceback; one that is forked has the frames of its start around its own.
    """
    if frame is not None and frame.f_code.co_filename == logging.__file__:
        return True
    while frame is not None and frame.f_code is not IN_PROCESS:
        if _loads_extension(frame) or frame.f_code is STARTS_PROCESS:
            return True
        frame = frame.f_back
    return False


def _loads_extension(frame: FrameType) -> bool:
    loads = frame.f_code.co_name in ('create_module', 'exec_module')
    loader = frame.f_locals.get('self') if loads else None
    return isinstance(loader, ExtensionFileLoader)


def output_is_closed() -> bool:
    """Whether nobody reads what is printed; if so, the rest is discarded.

    Python would complain when it flushes the rest at its end.
    """
    try:
        print(flush=True)  # the buffer of what failed may be empty
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return True
    return False


def _stop(program: str, error: BaseException) -> NoReturn:
    advice = getattr(error, 'advice', CONTINUE)
    print(f'{program}: interrupted; {advice}', file=sys.stderr)
    raise SystemExit(INTERRUPTED) from error


def _show_warning(
    program: str, message: Warning | str, *_: Any, **__: Any
) -> None:
    """A warning as one line, without breaking a progress bar."""
    text = ' '.join(str(message).split())
    tqdm.write(f'{program}: caveat: {text}', file=sys.stderr)
