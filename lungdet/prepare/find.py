"""Where the scans of a folder are, and which series each one is."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from lungdet.errors import SeriesError
from lungdet.io.dicom_series import list_series
from lungdet.io.image import SUFFIXES, stem

SUBSET = re.compile(r'subset(\d)(?!\d)')
HIDDEN = ('seg-lungs', 'masks', '.')  # names of what holds no scans
NO_SLICES = (*SUFFIXES, '.raw', '.zraw', '.xml', '.txt', '.csv', '.json')
TRIED_FILES = 3  # of a folder, to see whether slices without suffix lie in it


@dataclass(frozen=True)
class FoundScan:
    """A scan of a folder.

    Attributes:
        uid: Series uid; the name where a file or folder states none.
        path: Image file or DICOM folder.
        subset: LUNA16 subset that a folder's name states.
        folder: Name of the DICOM folder if it holds this series alone;
            tables may use it too.
        is_series: Whether ``uid`` was read from DICOM headers.
        caveats: What else lies beside it.
    """

    uid: str
    path: Path
    subset: int | None = None
    folder: str | None = None
    is_series: bool = False
    caveats: tuple[str, ...] = ()


def find_scans(
    root: Path,
    *,
    known: Collection[str] = (),
    series: Collection[str] = (),
    skip: Path | None = None,
) -> list[FoundScan]:
    """Every scan of a folder, by uid.

    Image files count anywhere but in mask folders, linked folders included;
    of a folder with DICOM slices each series is a scan. Where ``known`` names
    some of the series of a folder, the others are left out.

    Args:
        root: Searched at any depth; it may be the folder of one series.
        known: Series that the data set has.
        series: Only these series of DICOM folders; empty for all.
        skip: A folder that holds no scans.

    Raises:
        SeriesError: None found, or one uid twice.
        FileNotFoundError: No folder ``root``.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder; check the path.')
    found: dict[str, FoundScan] = {}
    root = root.resolve()
    for path in _visible(root, skip):
        if path.is_dir():
            scans = _of_folder(path, root, known, series)
        else:
            scans = [FoundScan(stem(path), path, _subset(path, root))]
        for scan in scans:
            if scan.uid in found:
                remedy = 'keep one'
                if not scan.is_series:
                    remedy = "a file's name is its series' name, so rename one"
                raise SeriesError(
                    f'{path}: series {scan.uid} is also at '
                    f'{found[scan.uid].path}; {remedy}.'
                )
            found[scan.uid] = scan
    absent = sorted(set(series) - set(found))
    if absent or not found:
        raise SeriesError(
            f'{root}: no scan found'
            + (f' of series {absent[0]}' if absent else '')
            + f' ({", ".join(SUFFIXES)} or DICOM folders); give the folder '
            'that holds them.'
        )
    return [found[uid] for uid in sorted(found)]


def _visible(root: Path, skip: Path | None) -> Iterator[Path]:
    """Image files, and folders with DICOM slices.

    Linked folders come last, and no folder twice: a link back to one of its
    own would never end, and a folder's own name may state its subset.
    """
    visited = set() if skip is None else {os.path.realpath(skip)}
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        if (real := os.path.realpath(folder)) in visited:
            continue
        visited.add(real)
        if _has_slices(folder):
            yield folder
        for path in sorted(folder.iterdir(), reverse=True):
            if path.name.startswith(HIDDEN):
                continue
            if path.is_dir() and path.is_symlink():
                waiting.append(path)
            elif path.is_dir():
                waiting.appendleft(path)
            elif path.name.lower().endswith(SUFFIXES):
                yield path


def _has_slices(folder: Path) -> bool:
    """Whether slices lie in a folder itself, with or without a suffix."""
    tried = 0
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == '.dcm':
            return True
        if (
            path.is_file()
            and tried < TRIED_FILES
            and not path.name.startswith('.')
            and not path.name.lower().endswith(NO_SLICES)
        ):
            tried += 1
            with open(path, 'rb') as file:
                if file.read(132)[128:] == b'DICM' and path.name != 'DICOMDIR':
                    return True
    return False


def _subset(path: Path, root: Path) -> int | None:
    parts = path.relative_to(root).parts
    match = next((m for p in parts if (m := SUBSET.match(p))), None)
    return int(match.group(1)) if match else None


def _of_folder(
    folder: Path, root: Path, known: Collection[str], only: Collection[str]
) -> list[FoundScan]:
    subset = _subset(folder, root)
    try:
        series = list_series(folder, depth=0)
    except SeriesError:  # reported when the scan is read
        return [] if only else [FoundScan(folder.name, folder, subset)]
    full = [s for s in series if s.is_volume] or series
    wanted = [s for s in full if s.series_uid in known] or full
    if only:
        wanted = [s for s in series if s.series_uid in only]
    left = [s for s in series if s not in wanted]
    caveats = [f'beside it, left out: {s.line()}' for s in left]
    alone = folder.name if len(wanted) == 1 else None
    return [
        FoundScan(s.series_uid, folder, subset, alone, True, tuple(caveats))
        for s in wanted
    ]


def index_xml(folder: Path) -> dict[str, Path]:
    """Reader XML files by the series uid inside."""
    found = {}
    for path in sorted(folder.rglob('*.xml')):
        head = path.read_bytes()[:4000].decode('utf-8', errors='replace')
        match = re.search(r'<SeriesInstanceU[iI][dD]>\s*([0-9.]+)\s*<', head)
        if match:
            found[match.group(1)] = path
    return found
