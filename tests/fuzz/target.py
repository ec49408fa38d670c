"""What a fuzz target is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Reading = tuple[str, Sequence[str]]  # fingerprint of the values, caveats
# whether other values than the intact file's are right; None if nothing tells
Oracle = Callable[[Path], bool | None]


def whole(content: bytes) -> tuple[int, int]:
    """The part of a file that is damaged: all of it."""
    return 0, len(content)


@dataclass(frozen=True)
class Target:
    """One kind of file that the program reads.

    Attributes:
        name: Of the target.
        make: Writes an intact input into a folder; returns the file to be
            damaged.
        read: Reads the scan, table or weights that the file belongs to.
        container: What it is made of, a key of ``MUTATORS``.
        oracle: Asked for a damaged file that was read with other values and
            without a caveat, see ``tests/fuzz/oracles.py``.
        part: The bytes (start, stop) that are damaged.
        cases: How many inputs are tried.
        needs: Libraries of extras without which it is skipped.
        wire: Whether it comes by a network, so it is never a folder or pipe,
            and no message names it.
        by_key: Whether messages may name the key of a value instead of the
            file, as for configs, which are made of several files.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Reading]
    container: str
    oracle: Oracle
    part: Callable[[bytes], tuple[int, int]] = whole
    cases: int = 120
    needs: tuple[str, ...] = ()
    wire: bool = False
    by_key: bool = False


def fingerprint(*parts: Any) -> str:
    """A digest of arrays and of anything whose repr is complete."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f'{part.dtype}{part.shape}'.encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode('utf-8', 'backslashreplace'))
    return digest.hexdigest()
