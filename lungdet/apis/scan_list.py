"""The scans of a run, by which ``lungdet merge`` tells which are missing.

``lungdet/schemas/scan_list.schema.json`` states the shape of the file.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungdet.apis.scan_names import shorter_name
from lungdet.errors import counted
from lungdet.io.atomic import write_text
from lungdet.io.json_file import (
    items,
    read_object,
    shape_checked,
    text,
    whole,
)

FILE, FILES = 'scans-{}.json', 'scans-*.json'
SCHEMA = 'lungdet.scan_list/1'
REMEDY = 'Run lungdet infer again, which writes it.'
MAX_NAMES = 5  # of missing scans in a message


@dataclass(frozen=True)
class ScanList:
    """The scans of a run, of all its parts together.

    Attributes:
        scans: Series uids, in the order of the run.
        num_parts: Scan k is of part ``k % num_parts``.
    """

    scans: tuple[str, ...]
    num_parts: int = 1

    def write(self, folder: Path) -> None:
        """Write it to the folder of the results.

        The name of its file follows from its content: all parts of a run
        write the same one, and other runs do not replace it.
        """
        content = {
            'schema': SCHEMA,
            'num_parts': self.num_parts,
            'scans': list(self.scans),
        }
        lines = json.dumps(content, indent=1) + '\n'
        digest = hashlib.sha256(lines.encode()).hexdigest()[:8]
        write_text(folder / FILE.format(digest), lines)

    def missing(self, done: Collection[str]) -> list[str]:
        """Texts, one for each part, or for the run without parts, that has
        scans which are not among ``done``.

        Examples:
            >>> ScanList(('a', 'b', 'c', 'd'), 2).missing({'a', 'b'})
            ['part 0 of 2: no result of 1 of 2 scans (c)',
             'part 1 of 2: no result of 1 of 2 scans (d)']
        """
        texts = []
        for part in range(min(self.num_parts, len(self.scans))):
            scans = self.scans[part :: self.num_parts]
            absent = [uid for uid in scans if uid not in done]
            if absent:
                texts.append(
                    f'part {part} of {self.num_parts}: '
                    * (self.num_parts > 1)
                    + f'no result of {len(absent)} of '
                    f'{counted(len(scans), "scan")} ({_names(absent)})'
                )
        return texts


def _names(uids: Sequence[str]) -> str:
    more = len(uids) - MAX_NAMES
    return ', '.join(uids[:MAX_NAMES]) + f' and {more} more' * (more > 0)


def read_scan_lists(folder: Path) -> list[ScanList]:
    """The lists of the runs that wrote results to a folder.

    Raises:
        SeriesError: One is damaged, or of another version.
    """
    lists = []
    for path in sorted(folder.glob(FILES)):
        values = read_object(path, REMEDY)
        with shape_checked(str(path), REMEDY):
            if values['schema'] != SCHEMA:
                raise ValueError(f'schema {values["schema"]!r}')
            num_parts = whole(values['num_parts'])
            if num_parts < 1:
                raise ValueError(f'{num_parts} parts')
            scans = tuple(map(text, items(values['scans'])))
            lists.append(ScanList(scans, num_parts))
    return lists


def largest_lists(lists: Iterable[ScanList]) -> list[ScanList]:
    """The lists without those whose scans another one has too: a run with
    further inputs, or in other parts, replaces the ones before.

    Examples:
        >>> largest_lists([ScanList(('ct',)), ScanList(('ct', 'x'))])
        [ScanList(scans=('ct', 'x'), num_parts=1)]
    """
    kept: list[ScanList] = []
    for one in sorted(
        set(lists), key=lambda x: (-len(x.scans), -x.num_parts, x.scans)
    ):
        scans = {*one.scans}
        if not any(
            scans <= {*other.scans} | _former_names(other) for other in kept
        ):
            kept.append(one)
    return kept


def _former_names(one: ScanList) -> set[str]:
    """Names that a single scan had before others of its name were added,
    since when all of them have digests."""
    counts = Counter(map(shorter_name, one.scans))
    return {name for name, number in counts.items() if number > 1}
