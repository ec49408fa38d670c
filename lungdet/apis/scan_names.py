"""Names of scans, and what messages call them, without names of folders.

Folders are often named after patients. Scans of one file name are therefore
distinguished by a digest of their path, unless personal data may be kept.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lungdet.apis.private_names import PrivateNames, digest
from lungdet.apis.scan_input import ScanInput
from lungdet.errors import SeriesError
from lungdet.io.archive import is_zip

DIGESTED = re.compile(r'-[0-9a-f]{8}$')


def with_distinct_names(
    scans: Iterable[ScanInput], *, keep_phi: bool = False
) -> list[ScanInput]:
    """Scans by uid; those that share one get longer ones, except for a DICOM
    series beside a file named like it.

    Args:
        scans: The scans of a run.
        keep_phi: Add the names of the two folders around a file; otherwise a
            digest of its path below the input, or below as many of the
            folders around the inputs as are needed to distinguish them. It is
            the same wherever the inputs lie.

    Raises:
        SeriesError: That does not distinguish them.
    """
    groups: defaultdict[str, list[ScanInput]] = defaultdict(list)
    for scan in scans:
        groups[scan.uid].append(scan)
    longer = _with_folders if keep_phi else _with_digests
    distinct: dict[str, ScanInput] = {}
    for group in groups.values():
        files = [scan for scan in group if scan.series_uid is None]
        series = [scan for scan in group if scan.series_uid is not None]
        for scan in group if len(group) == 1 else series + longer(files):
            other = distinct.setdefault(scan.uid, scan)
            if other is not scan:
                raise SeriesError(
                    f'{where(scan, keep_phi=keep_phi)}: is called {scan.uid} '
                    f'like {where(other, keep_phi=keep_phi)}; rename one, or '
                    'name them by a list with the columns path and seriesuid.'
                )
    return [distinct[uid] for uid in sorted(distinct)]


def where(scan: ScanInput, *, keep_phi: bool = False) -> str:
    """What a message calls the place of a scan.

    Args:
        scan: The scan.
        keep_phi: Give its path or address; otherwise the input that it is of,
            and the name of its file.
    """
    if keep_phi or scan.path is None:
        return scan.location
    if scan.below is None:
        return scan.given
    name = scan.path.name
    if is_zip(scan.path):
        name = 'an archive'
    elif scan.path.is_dir():
        name = 'a folder'
    return f'{scan.given} ({name} in it)'


def defect_of(scan: ScanInput, *, keep_phi: bool = False) -> str | None:
    """Why a scan cannot be read; without its path unless that may be kept."""
    if scan.defect is None or keep_phi or scan.path is None:
        return scan.defect
    return PrivateNames(scan.uid, scan.inner_path, scan.path).hidden(
        scan.defect
    )


def shorter_name(uid: str) -> str:
    """A name without the digest that distinguishes it from others, if it has
    one.

    Examples:
        >>> shorter_name('ct-27e714e9'), shorter_name('ct')
        ('ct', 'ct')
    """
    return DIGESTED.sub('', uid)


def _with_folders(scans: Sequence[ScanInput]) -> list[ScanInput]:
    return [
        replace(
            scan,
            uid='_'.join([*scan.inner_path.absolute().parts[-3:-1], scan.uid]),
        )
        for scan in scans
    ]


def _with_digests(scans: Sequence[ScanInput]) -> list[ScanInput]:
    if not scans:
        return []
    paths = [Path(os.path.abspath(scan.inner_path)) for scan in scans]
    folders = [_folder_of_input(scan) for scan in scans]
    digests: list[str] = []
    for up in range(1 + max(len(folder.parts) for folder in folders)):
        digests = [
            digest(Path(*path.parts[max(0, len(folder.parts) - up) :]))
            for path, folder in zip(paths, folders)
        ]
        if len(set(digests)) == len(scans):
            break
    return [
        replace(scan, uid=f'{scan.uid}-{name}')
        for scan, name in zip(scans, digests)
    ]


def _folder_of_input(scan: ScanInput) -> Path:
    if scan.below is not None:
        return scan.below
    return Path(os.path.abspath(scan.location)).parent
