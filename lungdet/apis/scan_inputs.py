"""The scans among what a user names: files, folders, zips, lists of these.

DICOM series are counted by examination: of several reconstructions of one,
the thinnest is taken, wherever its files lie.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lungdet.errors import ConfigError, SeriesError, explain
from lungdet.io.archive import extract_zip, is_zip
from lungdet.io.atomic import scratch_folder
from lungdet.io.dicom_series import (
    MAX_THICKNESS_MM,
    NoSeriesError,
    SeriesSummary,
    list_series,
)
from lungdet.io.files import is_litter
from lungdet.io.image import SUFFIXES, stem
from lungdet.io.limits import SLICES
from lungdet.io.scan_manifest import read_scan_manifest
from lungdet.prepare.discover import images_and_series_folders

ADDRESSES = ('http://', 'https://')
LISTS = '.csv'


@dataclass(frozen=True)
class ScanInput:
    """One scan, and where it lies.

    Attributes:
        uid: Series uid of DICOM, else the file's name; one of a kind in a
            run.
        path: Image file, DICOM folder, or zip archive.
        member: Path in the archive, None outside of one.
        series_uid: Which series of the folder; None for an image file.
        study: Its examination, None where none is stated.
        slices: Of a DICOM series, 0 where they are not known yet.
        thickness: Of its slices in mm, infinite if not known.
        description: The scanner's free text; may name a person.
        lung_mask: File of its lungs, None to find them.
        caveats: What was left out beside it.
        defect: Why it cannot be read, as far as is known; None otherwise.
    """

    uid: str
    path: Path
    member: str | None = None
    series_uid: str | None = None
    study: str | None = None
    slices: int = 0
    thickness: float = float('inf')
    description: str = ''
    lung_mask: Path | None = None
    caveats: tuple[str, ...] = ()
    defect: str | None = None

    @contextmanager
    def opened(self, scratch: Path) -> Iterator[Path]:
        """Give the file or folder to read, unpacked if it is in an archive.

        Args:
            scratch: Folder for what is unpacked.

        Raises:
            SeriesError: As ``extract_zip``.
        """
        if self.member is None:
            yield self.path
            return
        with scratch_folder(scratch) as folder:
            extract_zip(self.path, folder)
            yield folder / self.member


def find_scans(
    inputs: Sequence[str | Path],
    scratch: Path,
    *,
    series: Collection[str] = (),
    lung_mask: Path | None = None,
) -> tuple[list[ScanInput], list[str]]:
    """Every scan to run on, by uid, and caveats of what was left out.

    Args:
        inputs: Image files, DICOM folders, zips of either, folders with any
            of these at any depth, or a csv of ``read_scan_manifest``.
        scratch: Folder for what is unpacked.
        series: Only these scans; without, the thinnest series of each
            examination.
        lung_mask: A mask of the only scan, or a folder of masks named
            ``<uid>.*``.

    Raises:
        ConfigError: An address, or one mask for several scans.
        SeriesError: No scan, a series that is not there, or two scans of one
            name.
        AnnotationError: A csv that is no list of scans.
        FileNotFoundError: An input that is not there.
    """
    scans, left_out = list_scans(inputs, scratch)
    if series:
        scans = [scan for scan in scans if scan.uid in series]
    else:
        scans = _thinnest_of_each(scans)
    absent = sorted(set(series) - {scan.uid for scan in scans})
    if absent or not scans:
        raise SeriesError(
            f'{", ".join(map(str, inputs))}: '
            + (f'no series {absent[0]}' if absent else 'no scan')
            + f' there ({", ".join(SUFFIXES)}, DICOM folders, zips of these)'
            + ''.join(f'; {text}' for text in left_out[:3])
            + '; give the files, or the folder that holds them.'
        )
    return _with_masks(scans, lung_mask), left_out


def list_scans(
    inputs: Sequence[str | Path], scratch: Path
) -> tuple[list[ScanInput], list[str]]:
    """Every scan and every series, by uid, and what of the inputs is none.

    Args:
        inputs: As ``find_scans``.
        scratch: Folder for what is unpacked.

    Raises:
        Errors as ``find_scans``, but for a series that is not there.
    """
    scans: list[ScanInput] = []
    left_out: list[str] = []
    for word in dict.fromkeys(map(str, inputs)):
        some, rest = _scans_of_input(word, scratch)
        scans += some
        left_out += rest
    return _with_distinct_uids(_without_repeats(scans)), left_out


def _scans_of_input(
    word: str, scratch: Path
) -> tuple[list[ScanInput], list[str]]:
    """Scans of one input, and what of it is none."""
    path = Path(word)
    if word.startswith(ADDRESSES):
        raise ConfigError(
            f'{word}: addresses are not read; fetch the series to a folder '
            'and give that.'
        )
    if not path.exists():
        raise FileNotFoundError(f'{path}: not there; check the path.')
    if path.name.lower().endswith(LISTS):
        return _scans_of_list(path, scratch)
    if path.is_dir():
        return _scans_below(path.resolve(), scratch)
    if is_zip(path):
        return _scans_in_zip(path, scratch)
    return [ScanInput(stem(path), path)], []


def _scans_of_list(
    path: Path, scratch: Path
) -> tuple[list[ScanInput], list[str]]:
    scans: list[ScanInput] = []
    left_out: list[str] = []
    for entry in read_scan_manifest(path):
        some, rest = _scans_of_input(str(entry.path), scratch)
        if entry.series_uid is not None:
            named = [s for s in some if s.uid == entry.series_uid]
            if not named and len(some) == 1 and some[0].series_uid is None:
                named = [replace(some[0], uid=entry.series_uid)]
            some = named
        if not some:
            raise SeriesError(
                f'{path}: no scan {entry.series_uid or ""} at {entry.path}; '
                'correct the list.'
            )
        if entry.lung_mask is not None:
            some = [replace(s, lung_mask=entry.lung_mask) for s in some]
        scans += some
        left_out += rest
    return scans, left_out


def _scans_below(
    root: Path, scratch: Path
) -> tuple[list[ScanInput], list[str]]:
    """Scans of a folder at any depth."""
    scans: list[ScanInput] = []
    left_out: list[str] = []
    parts: defaultdict[str, list[ScanInput]] = defaultdict(list)
    for path in images_and_series_folders(root, suffixes=(*SUFFIXES, '.zip')):
        if is_zip(path) and not path.is_dir():
            some, rest = _scans_in_zip(path, scratch)
            scans += some
            left_out += rest
        elif not path.is_dir():
            scans.append(ScanInput(stem(path), path))
        else:
            try:
                for one in _series_of(path):
                    parts[one.uid].append(one)
            except NoSeriesError as error:
                text = explain(error).replace(str(path), 'a folder')
                left_out.append(text.partition(';')[0])
    return [*scans, *map(_joined, parts.values())], left_out


def _scans_in_zip(
    path: Path, scratch: Path
) -> tuple[list[ScanInput], list[str]]:
    """Scans of an archive, which is unpacked again when they are read."""
    try:
        with scratch_folder(scratch) as folder:
            root = folder.resolve()
            extract_zip(path, root)
            scans, left_out = _scans_below(root, scratch)
    except SeriesError as error:  # as one scan that cannot be read
        return [ScanInput(path.stem, path, defect=explain(error))], []
    within = [
        replace(scan, path=path, member=str(scan.path.relative_to(root)))
        for scan in scans
        if scan.member is None  # no archive in an archive
    ]
    if not within:
        left_out.append(f'{path.name}: no scan in the archive')
    return within, left_out


def _series_of(folder: Path) -> list[ScanInput]:
    """The series whose slices lie in a folder itself."""
    try:
        return [_scan_of(folder, one) for one in list_series(folder, depth=0)]
    except NoSeriesError:
        raise
    except (SeriesError, OSError) as error:
        # the folder's name may be a person's
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
        return [ScanInput(f'folder-{digest}', folder, defect=explain(error))]


def _scan_of(folder: Path, series: SeriesSummary) -> ScanInput:
    first = series.slices[0] if series.slices else None
    return ScanInput(
        series.series_uid,
        folder,
        series_uid=series.series_uid,
        study=None if first is None else first.study,
        slices=len(series.slices),
        thickness=series.thickness,
        description='' if first is None else first.description or '',
    )


def _joined(parts: Sequence[ScanInput]) -> ScanInput:
    """One series whose slices lie in several folders of an input."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        path=Path(os.path.commonpath([part.path for part in parts])),
        slices=sum(part.slices for part in parts),
    )


def _without_repeats(scans: Iterable[ScanInput]) -> list[ScanInput]:
    """Each file and each series once, whatever named it.

    Raises:
        SeriesError: One series in two folders.
    """
    first: dict[tuple[str, str, str], ScanInput] = {}
    for scan in scans:
        real = os.path.realpath(scan.path)
        first.setdefault((real, scan.member or '', scan.uid), scan)
    by_series: dict[str, ScanInput] = {}
    for scan in first.values():
        if scan.series_uid is None:
            continue
        other = by_series.setdefault(scan.series_uid, scan)
        if other is not scan:
            raise SeriesError(
                f'{scan.path}: series {scan.uid} is also at {other.path}; '
                'give one of them.'
            )
    return list(first.values())


def _thinnest_of_each(scans: Iterable[ScanInput]) -> list[ScanInput]:
    """Image files, and of each examination its thinnest series."""
    chosen = []
    studies: defaultdict[str, list[ScanInput]] = defaultdict(list)
    for scan in scans:
        if scan.series_uid is None:
            chosen.append(scan)
        else:
            studies[scan.study or f'{scan.path}'].append(scan)
    chosen += map(_thinnest, studies.values())
    return sorted(chosen, key=lambda scan: scan.uid)


def _thinnest(series: Sequence[ScanInput]) -> ScanInput:
    volumes = [s for s in series if s.slices >= SLICES[0]] or series
    thin = [s for s in volumes if s.thickness <= MAX_THICKNESS_MM]
    best = min(thin or volumes, key=lambda s: (s.thickness, -s.slices, s.uid))
    others = [s.uid for s in series if s is not best]
    if not others:
        return best
    if not thin and len(volumes) > 1:
        return replace(
            best,
            defect=(
                f'{best.path}: {len(series)} series of one examination, none '
                f'with {SLICES[0]} slices or more of at most '
                f'{MAX_THICKNESS_MM:g} mm; choose one with --series, '
                '--list-series shows them.'
            ),
        )
    return replace(
        best,
        caveats=(
            f'{len(series)} series of one examination; took this one of '
            f'{best.slices} slices of {best.thickness:g} mm, the thinnest '
            f'with the most slices; left out: {", ".join(others)}',
        ),
    )


def _with_distinct_uids(scans: Iterable[ScanInput]) -> list[ScanInput]:
    """Scans by uid; files of one name get those of their folders too.

    Raises:
        SeriesError: That does not tell them apart.
    """
    scans = list(scans)
    names = Counter(scan.uid for scan in scans)
    distinct: dict[str, ScanInput] = {}
    for scan in scans:
        if names[scan.uid] > 1:
            scan = replace(scan, uid=_long_name(scan))
        other = distinct.setdefault(scan.uid, scan)
        if other is not scan:
            raise SeriesError(
                f'{scan.path}: is called {scan.uid} like {other.path}; rename '
                'one, or name them by a list with the columns path and '
                'seriesuid.'
            )
    return [distinct[uid] for uid in sorted(distinct)]


def _long_name(scan: ScanInput) -> str:
    """The names of a file and of the two folders around it."""
    path = scan.path if scan.member is None else scan.path / scan.member
    return '_'.join([*path.absolute().parts[-3:-1], scan.uid])


def _with_masks(
    scans: list[ScanInput], lung_mask: Path | None
) -> list[ScanInput]:
    """Scans with the masks that one file or a folder gives them."""
    if lung_mask is None:
        return scans
    if not lung_mask.exists():
        raise FileNotFoundError(f'{lung_mask}: not there; check the path.')
    if not lung_mask.is_dir():
        if len(scans) > 1:
            raise ConfigError(
                f'lung mask: {lung_mask} is one file, but there are '
                f'{len(scans)} scans; give a folder with one mask a scan, '
                'named by its series uid.'
            )
        return [replace(scan, lung_mask=lung_mask) for scan in scans]
    masks = {
        stem(file): file
        for file in sorted(lung_mask.iterdir())
        if file.name.lower().endswith(SUFFIXES) and not is_litter(file)
    }
    if not masks.keys() & {scan.uid for scan in scans}:
        raise ConfigError(
            f'lung mask: {lung_mask} has none that is named like a scan, such '
            f'as {scans[0].uid}; rename the masks.'
        )
    return [_with_mask(scan, masks.get(scan.uid)) for scan in scans]


def _with_mask(scan: ScanInput, mask: Path | None) -> ScanInput:
    if mask is None:
        missing = 'no lung mask is named like it; the lungs were searched'
        return replace(scan, caveats=(*scan.caveats, missing))
    return replace(scan, lung_mask=mask)
