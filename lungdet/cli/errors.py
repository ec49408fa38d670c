"""Expected errors as one line and an exit code."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tqdm import tqdm

from lungdet.errors import LungdetError, explain


@contextmanager
def clean_errors(program: str, *, debug: bool = False) -> Iterator[None]:
    """Turn expected errors into one line on stderr and an exit code.

    Args:
        program: The name in front of the line.
        debug: Show the traceback instead.

    Raises:
        SystemExit: 2 for bad usage or input, 130 where interrupted.
    """
    with warnings.catch_warnings():
        warnings.showwarning = partial(_show_warning, program)
        yield from _clean(program, debug)


def _show_warning(
    program: str, message: Warning | str, *_: Any, **__: Any
) -> None:
    """A warning as one line, without breaking a progress bar."""
    text = ' '.join(str(message).split())
    tqdm.write(f'{program}: caveat: {text}', file=sys.stderr)


def _clean(program: str, debug: bool) -> Iterator[None]:
    try:
        yield
    except (LungdetError, OSError) as error:
        if debug:
            raise
        print(f'{program}: {explain(error)}', file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error
