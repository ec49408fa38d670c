"""Where the scans of a folder are, and which series each one is."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from lungdet.errors import SeriesError
from lungdet.io.dicom import list_series
from lungdet.io.image import SUFFIXES, stem

SUBSET = re.compile(r'subset(\d)(?!\d)')
TRIED_FILES = 3  # of a folder, to see whether slices without suffix lie in it


def find_scans(
    root: Path,
    *,
    known: Collection[str] = (),
    skip: Path | None = None,
) -> list[tuple[str, Path, int | None]]:
    """(uid, path, subset) of every scan, by uid.

    Image files count anywhere but in mask folders; a folder with DICOM
    slices is one series, named by the folder or, if that is no series of
    ``known``, by the one of ``known`` that lies in it.

    Raises:
        SeriesError: None found, or one uid twice.
    """
    found: dict[str, tuple[Path, int | None]] = {}
    hidden = ('seg-lungs', 'masks', '.')
    skip = None if skip is None else skip.resolve()
    root = root.resolve()
    for path in sorted(root.rglob('*')):
        inner = path.relative_to(root).parts
        if any(part.startswith(hidden) for part in inner) or (
            skip is not None and (path == skip or skip in path.parents)
        ):
            continue
        is_image = path.is_file() and path.name.lower().endswith(SUFFIXES)
        if not (is_image or path.is_dir() and _is_series(path)):
            continue
        uid = stem(path) if is_image else _series_name(path, known)
        match = next((m for p in inner if (m := SUBSET.match(p))), None)
        if uid in found:
            raise SeriesError(
                f'{path}: series {uid} is also at {found[uid][0]}; keep one.'
            )
        found[uid] = (path, int(match.group(1)) if match else None)
    if not found:
        raise SeriesError(
            f'{root}: no scan found ({", ".join(SUFFIXES)} or DICOM folders);'
            ' give the folder that holds them.'
        )
    return [(uid, path, sub) for uid, (path, sub) in sorted(found.items())]


def _is_series(folder: Path) -> bool:
    """Whether slices lie in a folder itself, with or without a suffix."""
    tried = 0
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == '.dcm':
            return True
        if (
            path.is_file()
            and tried < TRIED_FILES
            and not path.name.startswith('.')
        ):
            tried += 1
            with open(path, 'rb') as file:
                if file.read(132)[128:] == b'DICM' and path.name != 'DICOMDIR':
                    return True
    return False


def _series_name(folder: Path, known: Collection[str]) -> str:
    if not known or folder.name in known:
        return folder.name
    try:
        inside = {one.series_uid for one in list_series(folder)} & set(known)
    except SeriesError:
        return folder.name  # reported when the scan is read
    return min(inside) if len(inside) == 1 else folder.name


def index_xml(folder: Path) -> dict[str, Path]:
    """Reader XML files by the series uid inside."""
    found = {}
    for path in sorted(folder.rglob('*.xml')):
        head = path.read_bytes()[:4000].decode('utf-8', errors='replace')
        match = re.search(r'<SeriesInstanceU[iI][dD]>\s*([0-9.]+)\s*<', head)
        if match:
            found[match.group(1)] = path
    return found
