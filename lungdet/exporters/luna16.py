"""Marks as LUNA16's submissions have them."""

from __future__ import annotations

from pathlib import Path

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.io.luna16 import write_submission

MARKS = 'marks.csv'


def write_luna16(folder: Path, scan: ExportInput) -> list[str]:
    """Write world centres and scores."""
    write_submission(folder / MARKS, [scan.result])
    return [MARKS]


EXPORTER = Exporter([MARKS], write_luna16)
