"""The method's published table, as printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_suffix('.json')


@dataclass(frozen=True)
class PublishedRow:
    """A row of the paper.

    Attributes:
        name: Such as ``'BASE'``.
        sensitivities: At 1/8 .. 8 false positives per scan.
        cpm: As printed, which need not be their mean.
    """

    name: str
    sensitivities: tuple[float, ...]
    cpm: float


@dataclass(frozen=True)
class PublishedTable:
    """The paper's rows.

    Attributes:
        rows: In the paper's order.
        protocol: What is known about their evaluation.
    """

    rows: tuple[PublishedRow, ...]
    protocol: str


def published_table() -> PublishedTable:
    """Read the rows from published_rows.json, next to this file."""
    content = json.loads(TABLE.read_text(encoding='utf-8'))
    rows = (
        PublishedRow(row['name'], tuple(row['sensitivities']), row['cpm'])
        for row in content['rows']
    )
    return PublishedTable(tuple(rows), content['protocol'])
