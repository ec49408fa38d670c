"""Digests of files, by which results identify their inputs."""

from __future__ import annotations

import hashlib
from pathlib import Path

READ_BYTES = 1 << 20


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as it is stored, compressed or not."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
