"""What a fuzz target is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.damage import BINARY, TEXT, Change

Reading = tuple[str, Sequence[str]]  # fingerprint of the values, caveats


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
        read: Reads the scan or table that the file belongs to.
        text: Whether words and lines are damaged, too.
        part: The bytes (start, stop) that are damaged.
        checked: Whether the format reveals any damage of that part; if so,
            other values without a caveat are a failure.
        agrees: Whether another reader gets the same from the damaged file;
            asked if values differ without a caveat.
        cases: How many inputs are tried.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Reading]
    text: bool = False
    part: Callable[[bytes], tuple[int, int]] = whole
    checked: bool = False
    agrees: Callable[[Path], bool] | None = None
    cases: int = 200

    @property
    def changes(self) -> tuple[Change, ...]:
        """The kinds of damage."""
        return TEXT if self.text else BINARY


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
