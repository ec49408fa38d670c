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
from threading import Timer, current_thread, main_thread
from types import FrameType
from typing import Any, NoReturn

from tqdm import tqdm

from lungdet.errors import CLOSED, INTERRUPTED, LungdetError, explain

LATER = 0.05  # seconds until a Ctrl-C that came too early is sent again


@contextmanager
def clean_errors(program: str, *, debug: bool = False) -> Iterator[None]:
    """Turn expected errors into one line on stderr and an exit code.

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
    """Note each Ctrl-C, and raise KeyboardInterrupt as Python does.

    Some libraries catch whatever is raised in them and raise an error of their
    own, which hides the cause.

    Yields:
        A list, empty until then.
    """
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        if frame and (_is_logging(frame) or _loads_extension(frame)):
            Timer(LATER, os.kill, (os.getpid(), number)).start()
            return
        raise KeyboardInterrupt

    # else it has another handler, or this is not the main thread
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_pythons or current_thread() is not main_thread():
        yield noted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_logging(frame: FrameType) -> bool:
    """In logging, which runs around forks, where Python only prints what is
    raised."""
    return frame.f_code.co_filename == logging.__file__


def _loads_extension(frame: FrameType | None) -> bool:
    """While a compiled module is loaded: after an error there, matplotlib's
    abort the process when it ends."""
    while frame is not None:
        loads = frame.f_code.co_name in ('create_module', 'exec_module')
        loader = frame.f_locals.get('self') if loads else None
        if isinstance(loader, ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let the signal that a scheduler sends before it kills end the block like
    Ctrl-C."""
    if current_thread() is not main_thread():
        yield
        return
    interrupt = signal.getsignal(signal.SIGINT)
    before = signal.signal(
        signal.SIGTERM,
        interrupt if callable(interrupt) else signal.default_int_handler,
    )
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    print(
        f'{program}: interrupted; run the same command again to continue.',
        file=sys.stderr,
    )
    raise SystemExit(INTERRUPTED) from error


def _show_warning(
    program: str, message: Warning | str, *_: Any, **__: Any
) -> None:
    """A warning as one line, without breaking a progress bar."""
    text = ' '.join(str(message).split())
    tqdm.write(f'{program}: caveat: {text}', file=sys.stderr)
