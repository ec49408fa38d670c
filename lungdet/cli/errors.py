"""Expected errors as one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
    try:
        yield
    except (LungdetError, OSError) as error:
        if debug:
            raise
        print(f'{program}: {explain(error)}', file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error
