"""False marks of a detector on its training scans, as a file.

A training mines new banks from time to time and keeps the older ones. A
sample's epoch determines its bank, so a resumed run and every worker of a data
loader use the same one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lungdet.errors import SeriesError
from lungdet.io.atomic import write_text
from lungdet.io.json_file import (
    items,
    keyed,
    number,
    numbers,
    read_object,
    shape_checked,
    whole,
)

BANK_FORMAT = 'lungdet.hard_negatives/1'
BANK_NAME = re.compile(r'hard_negatives_(\d+)\.json')
REMEDY = 'resume from a checkpoint before it, which mines again.'


@dataclass(frozen=True)
class HardNegative:
    """A mark where there is no nodule.

    Attributes:
        center_mm: World centre (x, y, z), LPS.
        diameter_mm: Geometric mean of the box sides.
        score: Score given by the detector.
    """

    center_mm: tuple[float, float, float]
    diameter_mm: float
    score: float


@dataclass(frozen=True)
class HardNegativeBank:
    """The hard negatives of one pass over the training scans.

    Attributes:
        epoch: Epochs done when it was mined; it is used from this epoch on,
            counted from 0.
        marks: Best first, by series uid.
    """

    epoch: int
    marks: Mapping[str, tuple[HardNegative, ...]]

    def write(self, folder: str | Path) -> Path:
        """Write it atomically.

        Returns:
            Its file in ``folder``.
        """
        path = bank_file(folder, self.epoch)
        marks = {
            uid: [[*m.center_mm, m.diameter_mm, m.score] for m in of_scan]
            for uid, of_scan in self.marks.items()
        }
        content = {'format': BANK_FORMAT, 'epoch': self.epoch, 'marks': marks}
        write_text(path, json.dumps(content))
        return path

    @classmethod
    def read(cls, path: Path) -> HardNegativeBank:
        """The bank of a file.

        Raises:
            SeriesError: It is damaged, or not a bank.
            OSError: It cannot be read.
        """
        values = read_object(path, REMEDY)
        if values.get('format') != BANK_FORMAT:
            raise SeriesError(
                f'{path}: format {values.get("format")!r}, this version reads '
                f'{BANK_FORMAT!r}; {REMEDY}'
            )
        with shape_checked(str(path), REMEDY):
            return cls(
                whole(values['epoch']),
                {
                    uid: tuple(map(_mark, items(of_scan)))
                    for uid, of_scan in keyed(values['marks']).items()
                },
            )


def _mark(values: object) -> HardNegative:
    x, y, z, diameter_mm, score = numbers(values, 5)
    if number(diameter_mm) <= 0:
        raise ValueError(f'a diameter of {diameter_mm} mm')
    return HardNegative((x, y, z), diameter_mm, score)


def bank_file(folder: str | Path, epoch: int) -> Path:
    """Path of the bank that is used from ``epoch`` on."""
    return Path(folder) / f'hard_negatives_{epoch}.json'


def bank_files(folder: str | Path) -> dict[int, Path]:
    """The banks of a work folder by their epoch, in order."""
    named = (
        (BANK_NAME.fullmatch(path.name), path)
        for path in Path(folder).glob('hard_negatives_*.json')
    )
    return dict(sorted((int(m[1]), path) for m, path in named if m))


def bank_of_epoch(folder: str | Path, epoch: int) -> Path | None:
    """The bank that an epoch, from 0, uses; None before the first."""
    files = [path for e, path in bank_files(folder).items() if e <= epoch]
    return files[-1] if files else None
