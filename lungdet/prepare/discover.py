"""The scans of a folder, and the series of each."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from lungdet.errors import SeriesError
from lungdet.io.dicom_series import list_series
from lungdet.io.files import is_dicom_head, is_litter
from lungdet.io.image import SUFFIXES, stem

SUBSET = re.compile(r'subset(\d)(?!\d)')
MASKS = ('masks', 'seg-lungs', 'seg-lungs-luna16')  # names, in lower case
NO_SLICES = (*SUFFIXES, '.raw', '.zraw', '.xml', '.txt', '.csv', '.json')
TRIED_FILES = 8  # about, of a folder, to recognise slices without a suffix


@dataclass(frozen=True)
class ScanSource:
    """Where a scan is stored, and its uid.

    Attributes:
        uid: Series uid; the file's or folder's name where none is stated.
        path: Image file or DICOM folder.
        subset: LUNA16 subset, None if unknown.
        folder: Name of the DICOM folder if this is its only series; tables may
            use it too.
        is_series: Whether ``uid`` was read from DICOM headers.
        caveats: What else is in the folder.
    """

    uid: str
    path: Path
    subset: int | None = None
    folder: str | None = None
    is_series: bool = False
    caveats: tuple[str, ...] = ()


def discover_scans(
    root: Path,
    *,
    known: Collection[str] = (),
    series: Collection[str] = (),
    skip: Path | None = None,
) -> list[ScanSource]:
    """Every scan of a folder, by uid.

    Image files count anywhere except in mask folders, linked folders included;
    in a folder with DICOM slices each series is a scan. If ``known`` names
    some of the series of a folder, the others are left out.

    Args:
        root: Searched at any depth; it may be the folder of one series.
        known: Series of the data set.
        series: Only these series of DICOM folders; empty for all.
        skip: A folder to ignore.

    Raises:
        SeriesError: No scan, or two of one uid.
        FileNotFoundError: No folder ``root``.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder; check the path.')
    root = root.resolve()
    sources: dict[str, ScanSource] = {}
    for path in images_and_series_folders(root, skip):
        for source in _sources_at(path, root, known, series):
            if source.uid in sources:
                raise _twice(source, sources[source.uid])
            sources[source.uid] = source
    absent = sorted(set(series) - set(sources))
    if absent or not sources:
        raise SeriesError(
            f'{root}: no scan found'
            + (f' of series {absent[0]}' if absent else '')
            + f' ({", ".join(SUFFIXES)} or DICOM folders); give the folder '
            'that holds them.'
        )
    return [sources[uid] for uid in sorted(sources)]


def is_named_like_masks(path: Path) -> bool:
    """Whether a file or folder of a data set has one of the names of masks.

    A longer name, such as ``masks_of_smith.nii.gz``, may be that of a scan.
    """
    return stem(path).lower() in MASKS


def images_and_series_folders(
    root: Path,
    skip: Path | None = None,
    suffixes: tuple[str, ...] = SUFFIXES,
    is_mask: Callable[[Path], bool] = is_named_like_masks,
) -> Iterator[Path]:
    """Image files at any depth, and folders that hold DICOM slices.

    Linked folders come last, and no folder is visited twice: a link to a
    parent folder would never end, and the name of the original folder may
    state a subset.

    Args:
        root: Folder to search.
        skip: A folder in it to ignore.
        suffixes: Suffixes of the image files.
        is_mask: Files and folders to pass over.
    """
    visited = set() if skip is None else {os.path.realpath(skip)}
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        if (real := os.path.realpath(folder)) in visited:
            continue
        visited.add(real)
        try:
            paths = sorted(folder.iterdir(), reverse=True)
            if _has_slices(folder):
                yield folder
        except OSError:  # reported when the scan is read
            yield folder
            continue
        for path in paths:
            if is_mask(path) or is_litter(path):
                continue
            # unlike those of Path, these do not raise where access is denied
            if os.path.isdir(path) and os.path.islink(path):
                waiting.append(path)
            elif os.path.isdir(path):
                waiting.appendleft(path)
            elif path.name.lower().endswith(suffixes):
                yield path


def _has_slices(folder: Path) -> bool:
    """Whether the folder itself has slices, with or without a suffix.

    Of files without it, some from the first to the last name are opened.
    """
    paths = sorted(folder.iterdir())
    if any(path.suffix.lower() == '.dcm' for path in paths):
        return True
    files = [
        path
        for path in paths
        if os.path.isfile(path)
        and not is_litter(path)
        and not path.name.lower().endswith(NO_SLICES)
        and path.name != 'DICOMDIR'
    ]
    for path in files[:: max(len(files) // TRIED_FILES, 1)]:
        with open(path, 'rb') as file:
            if is_dicom_head(file.read(132)):
                return True
    return False


def _sources_at(
    path: Path, root: Path, known: Collection[str], only: Collection[str]
) -> list[ScanSource]:
    """The one scan of an image file, or every series of a DICOM folder."""
    subset = _subset(path, root)
    if os.path.isdir(path):
        return _series_of_folder(path, subset, known, only)
    return [ScanSource(stem(path), path, subset)]


def _subset(path: Path, root: Path) -> int | None:
    parts = path.relative_to(root).parts
    match = next((m for p in parts if (m := SUBSET.match(p))), None)
    return int(match.group(1)) if match else None


def _series_of_folder(
    folder: Path,
    subset: int | None,
    known: Collection[str],
    only: Collection[str],
) -> list[ScanSource]:
    try:
        series = list_series(folder, depth=0)
    except Exception:  # reported when the scan is read; the others go on
        return [] if only else [ScanSource(folder.name, folder, subset)]
    volumes = [s for s in series if s.is_volume] or series
    wanted = [s for s in volumes if s.series_uid in known] or volumes
    if only:
        wanted = [s for s in series if s.series_uid in only]
    caveats = tuple(
        f'beside it, left out: {s.line()}' for s in series if s not in wanted
    )
    name = folder.name if len(wanted) == 1 else None
    return [
        ScanSource(s.series_uid, folder, subset, name, True, caveats)
        for s in wanted
    ]


def _twice(source: ScanSource, first: ScanSource) -> SeriesError:
    remedy = 'keep one'
    if not source.is_series:
        remedy = "a file's name is its series' name, so rename one"
    return SeriesError(
        f'{source.path}: series {source.uid} is also at {first.path}; '
        f'{remedy}.'
    )
