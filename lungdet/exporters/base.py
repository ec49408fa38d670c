"""What every exporter is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungdet.structures import Detection, SeriesResult


@dataclass(frozen=True, eq=False)
class ExportInput:
    """One scan's result, and its voxels.

    Attributes:
        result: With masks; its ``files`` are those already written.
        image: int16 HU (z, y, x) on ``result.geometry``; None if they were not
            kept.
    """

    result: SeriesResult
    image: np.ndarray | None = None


def no_caveats(result: SeriesResult) -> list[str]:
    """Of a format that holds all of a result that it is meant to hold."""
    return []


@dataclass(frozen=True)
class Exporter:
    """A result format.

    Attributes:
        files: Names or patterns of the files that ``write`` may write. Those
            of an earlier export are removed first.
        write: Writes to a folder that exists, and returns the names of the
            files, relative to it; none where there is nothing to write.
        library: Module that it needs besides lungdet's own dependencies, and
            imports only in its functions.
        extra: Extra of lungdet that installs that library.
        needs_dicom: Whether the scan must come from DICOM slices.
        caveats: What the format cannot hold of a result; added to the result
            before any file is written.
        order: Those of a lower one are written first; above 0 for a format
            that refers to the files of others.
    """

    files: Sequence[str]
    write: Callable[[Path, ExportInput], list[str]]
    library: str = ''
    extra: str = ''
    needs_dicom: bool = False
    caveats: Callable[[SeriesResult], list[str]] = no_caveats
    order: int = 0


def name_of(k: int) -> str:
    """Name of detection ``k``, from 1, the same in every format."""
    return f'nodule {k}'


def label_of(k: int, detection: Detection) -> str:
    """The same with its score, for display."""
    return f'{name_of(k)} ({detection.score:.2f})'
