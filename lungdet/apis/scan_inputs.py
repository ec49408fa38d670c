"""The scans among a user's inputs: files, folders, zips, addresses, lists.

DICOM series are counted by examination: of several reconstructions of one,
the thinnest is taken, wherever its files lie. Those that an input names are
all taken.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lungdet.apis.known_masks import is_known_mask, without_lung_masks
from lungdet.apis.private_names import PrivateNames, digest
from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_lung_masks import with_lung_masks
from lungdet.apis.scan_names import defect_of, with_distinct_names
from lungdet.apis.series_copies import without_copies
from lungdet.dicomweb import (
    Address,
    ServerError,
    is_address,
    list_remote_series,
    parse_address,
)
from lungdet.errors import NO_SPACE, AnnotationError, SeriesError, explain
from lungdet.io.archive import extract_zip, is_zip
from lungdet.io.atomic import scratch_folder
from lungdet.io.dicom_series import (
    MAX_THICKNESS_MM,
    NoSeriesError,
    SeriesSummary,
    list_series,
)
from lungdet.io.image import SUFFIXES, stem
from lungdet.io.limits import SLICES
from lungdet.io.scan_manifest import read_scan_manifest
from lungdet.prepare.discover import images_and_series_folders

LISTS = '.csv'


def find_scans(
    inputs: Sequence[str | Path],
    scratch: Path,
    *,
    series: Collection[str] = (),
    lung_mask: Path | None = None,
    keep_phi: bool = False,
) -> tuple[list[ScanInput], list[str]]:
    """Every scan to run on, by uid, and caveats about what was left out.

    Args:
        inputs: Image files, DICOM folders, zips of either, folders with any
            of these at any depth, DICOMweb addresses of examinations or
            series, or a csv of ``read_scan_manifest``.
        scratch: Folder for what is unpacked.
        series: Only these scans; without, the thinnest series of each
            examination, and those that an input names.
        lung_mask: A mask of the only scan, or a folder of masks named
            ``<uid>.*``.
        keep_phi: Keep the names of folders, which may be those of patients,
            in names of scans and in messages.

    Raises:
        ConfigError: No address of an examination, or one mask for several
            scans.
        SeriesError: No scan, a missing series, or two scans of one name.
        AnnotationError: A csv that is not a list of scans.
        FileNotFoundError: A missing input.
    """
    scans, _, left_out = _scans_of_inputs(inputs, scratch, keep_phi, lung_mask)
    defects = [defect_of(s, keep_phi=keep_phi) for s in scans if s.defect]
    if series:
        scans = [scan for scan in scans if scan.uid in series]
    else:
        scans = _chosen_of_each(scans)
    absent = sorted(set(series) - {scan.uid for scan in scans})
    if absent or not scans:
        raise SeriesError(
            f'{", ".join(map(str, inputs))}: '
            + (f'no series {absent[0]}' if absent else 'no scan')
            + f' there ({", ".join(SUFFIXES)}, DICOM folders, zips of these)'
            + ''.join(f'; {text}' for text in [*defects, *left_out][:3])
            + '; give the files, or the folder that holds them.'
        )
    return with_lung_masks(scans, lung_mask), left_out


def list_scans(
    inputs: Sequence[str | Path], scratch: Path, *, keep_phi: bool = False
) -> tuple[list[ScanInput], list[str]]:
    """Every scan and every series, by uid, and which inputs are none.

    Args:
        inputs: As ``find_scans``.
        scratch: Folder for what is unpacked.
        keep_phi: As ``find_scans``.

    Raises:
        Errors as ``find_scans``, except for a missing series.
    """
    scans, copies, left_out = _scans_of_inputs(inputs, scratch, keep_phi)
    return sorted([*scans, *copies], key=lambda scan: scan.uid), left_out


def _scans_of_inputs(
    inputs: Sequence[str | Path],
    scratch: Path,
    keep_phi: bool,
    lung_mask: Path | None = None,
) -> tuple[list[ScanInput], list[ScanInput], list[str]]:
    """Scans by uid, further copies of them, and which inputs are none."""
    scans: list[ScanInput] = []
    left_out: list[str] = []
    for word in dict.fromkeys(map(str, inputs)):
        some, rest = _scans_of_input(word, scratch, keep_phi)
        scans += some
        left_out += rest
    scans, masks = without_lung_masks(scans, lung_mask)
    left_out += masks
    named = {s.series_uid for s in scans if s.is_named} - {None}
    scans, copies = without_copies(_without_repeats(scans))
    scans = [replace(s, is_named=s.series_uid in named) for s in scans]
    return with_distinct_names(scans, keep_phi=keep_phi), copies, left_out


def _scans_of_input(
    word: str, scratch: Path, keep_phi: bool
) -> tuple[list[ScanInput], list[str]]:
    """Scans of one input, and what in it is none."""
    path = Path(word)
    left_out: list[str] = []
    if is_address(word):
        scans = _scans_at(parse_address(word))
    elif not path.exists():
        raise FileNotFoundError(f'{path}: not there; check the path.')
    elif path.name.lower().endswith(LISTS):
        return _scans_of_list(path, scratch, keep_phi)
    elif path.is_dir():
        scans, left_out = _scans_below(path.resolve(), scratch, keep_phi)
    elif is_zip(path):
        scans, left_out = _scans_in_zip(path, path.name, scratch, keep_phi)
    else:
        scans = [ScanInput(stem(path), path)]
    return [replace(scan, given=word) for scan in scans], left_out


def _scans_at(address: Address) -> list[ScanInput]:
    """The CT series of an examination on a server."""
    try:
        every = list_remote_series(address)
    except ServerError as error:  # reported as an unreadable scan
        uid = address.series or address.study
        return [ScanInput(uid, None, defect=explain(error), address=address)]
    return [
        ScanInput(
            one.uid,
            None,
            series_uid=one.uid,
            study=address.study,
            slices=one.slices,
            thickness=one.thickness,
            description=one.description,
            address=address.of_series(one.uid),
            instances=one.instances,
            is_named=one.uid == address.series,
        )
        for one in every
    ]


def _scans_of_list(
    path: Path, scratch: Path, keep_phi: bool
) -> tuple[list[ScanInput], list[str]]:
    scans: list[ScanInput] = []
    left_out: list[str] = []
    for entry in read_scan_manifest(path):
        line = f'{path}:{entry.line}'
        location = entry.location if keep_phi else 'its path'
        if not is_address(entry.location):
            if not os.path.exists(entry.location):
                raise FileNotFoundError(
                    f'{line}: {location} is not there; correct the list.'
                )
            if entry.location.lower().endswith(LISTS):
                raise AnnotationError(
                    f'{line}: names another list; write the lines of that '
                    'list here.'
                )
        some, rest = _scans_of_input(entry.location, scratch, keep_phi)
        if entry.series_uid is not None:
            named = [s for s in some if s.uid == entry.series_uid]
            if not named and len(some) == 1 and some[0].series_uid is None:
                named = [replace(some[0], uid=entry.series_uid)]
            some = [replace(scan, is_named=True) for scan in named]
        if not some:
            raise SeriesError(
                f'{line}: no scan {entry.series_uid or ""} at {location}; '
                'correct the list.'
            )
        if entry.lung_mask is not None:
            some, masks = without_lung_masks(some, entry.lung_mask)
            some = [replace(s, lung_mask=entry.lung_mask) for s in some]
            rest += masks
        scans += [replace(scan, given=line) for scan in some]
        left_out += rest
    return scans, left_out


def _scans_below(
    root: Path, scratch: Path | None, keep_phi: bool
) -> tuple[list[ScanInput], list[str]]:
    """Scans of a folder at any depth; without ``scratch`` not of archives."""
    scans: list[ScanInput] = []
    left_out: list[str] = []
    parts: defaultdict[str, list[ScanInput]] = defaultdict(list)
    for path in images_and_series_folders(
        root, suffixes=(*SUFFIXES, '.zip'), is_mask=is_known_mask
    ):
        if is_zip(path) and not path.is_dir():
            if scratch is None:
                name = path.name if keep_phi else 'an archive'
                left_out.append(f'{name} in an archive; unpack it')
                continue
            below = path.relative_to(root)
            some, rest = _scans_in_zip(path, below, scratch, keep_phi)
            scans += some
            left_out += rest
        elif not path.is_dir():
            scans.append(ScanInput(stem(path), path))
        else:
            try:
                for one in _series_of(path, root):
                    parts[one.uid].append(one)
            except NoSeriesError as error:
                text = explain(error).replace(str(path), 'a folder')
                left_out.append(text.partition(';')[0])
    scans += map(_joined, parts.values())
    return [replace(scan, below=root) for scan in scans], left_out


def _scans_in_zip(
    path: Path, name: str | Path, scratch: Path, keep_phi: bool
) -> tuple[list[ScanInput], list[str]]:
    """Scans of an archive, which is unpacked again when they are read.

    Args:
        path: The archive.
        name: Its path below the input; may be a patient's.
        scratch: Folder for what is unpacked.
        keep_phi: Call it by its name if it cannot be read, and what is in it.
    """
    uid = path.stem if keep_phi else f'zip-{digest(name)}'
    try:
        with scratch_folder(scratch) as folder:
            root = folder.resolve()
            extract_zip(path, root)
            scans, left_out = _scans_below(root, None, keep_phi)
            within = [_packed(s, path, root, keep_phi) for s in scans]
    except (SeriesError, OSError) as error:  # reported as an unreadable scan
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        return [ScanInput(uid, path, defect=explain(error))], []
    if not within and not left_out:
        left_out.append(
            f'{path.name if keep_phi else "an archive"}: no scan in it'
        )
    return within, left_out


def _packed(
    scan: ScanInput, path: Path, root: Path, keep_phi: bool
) -> ScanInput:
    """A scan that was found where its archive had been unpacked."""
    member = os.path.relpath(scan.location, root)
    inside = replace(scan, path=path, member=member, below=None)
    if scan.defect is None:
        return inside
    if keep_phi:
        defect = scan.defect.replace(scan.location, str(inside.inner_path))
        return replace(inside, defect=defect)
    names = PrivateNames(scan.uid, Path(scan.location))
    return replace(inside, defect=names.hidden(scan.defect))


def _series_of(folder: Path, root: Path) -> list[ScanInput]:
    """The series whose slices lie in a folder itself."""
    try:
        return [_scan_of(folder, one) for one in list_series(folder, depth=0)]
    except NoSeriesError:
        raise
    except (SeriesError, OSError) as error:
        # the folder's name may be a person's
        uid = f'folder-{digest(folder.relative_to(root))}'
        return [ScanInput(uid, folder, defect=explain(error))]


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
        image_uids=frozenset(one.uid for one in series.slices if one.uid),
        caveats=tuple(series.beside),
        files=tuple(path.name for path in series.files),
    )


def _joined(parts: Sequence[ScanInput]) -> ScanInput:
    """One series whose slices lie in several folders of an input."""
    if len(parts) == 1:
        return parts[0]
    path = os.path.commonpath([part.location for part in parts])
    files = [
        os.path.relpath(os.path.join(part.location, name), path)
        for part in parts
        for name in part.files
    ]
    return replace(
        parts[0],
        path=Path(path),
        files=tuple(files),
        caveats=tuple(dict.fromkeys(c for p in parts for c in p.caveats)),
        slices=sum(part.slices for part in parts),
        image_uids=frozenset[str]().union(*(p.image_uids for p in parts)),
    )


def _without_repeats(scans: Iterable[ScanInput]) -> list[ScanInput]:
    """Each file and each folder's series once, even if several inputs name
    it."""
    first: dict[tuple[str, str, str], ScanInput] = {}
    for scan in scans:
        path = scan.location
        if scan.path is not None:
            path = os.path.realpath(scan.path)
        first.setdefault((path, scan.member or '', scan.uid), scan)
    return list(first.values())


def _chosen_of_each(scans: Iterable[ScanInput]) -> list[ScanInput]:
    """Image files, and of each examination the series that were named, and
    the thinnest unless all were."""
    chosen = []
    studies: defaultdict[str, list[ScanInput]] = defaultdict(list)
    for scan in scans:
        if scan.series_uid is None:
            chosen.append(scan)
        else:
            studies[scan.study or scan.location].append(scan)
    for series in studies.values():
        taken = {scan.uid: scan for scan in series if scan.is_named}
        if len(taken) < len(series):
            best = _thinnest(series)
            taken[best.uid] = best
        chosen += taken.values()
    return sorted(chosen, key=lambda scan: scan.uid)


def _thinnest(series: Sequence[ScanInput]) -> ScanInput:
    volumes = [s for s in series if s.slices >= SLICES[0]] or series
    thin = [s for s in volumes if s.thickness <= MAX_THICKNESS_MM]
    best = min(thin or volumes, key=lambda s: (s.thickness, -s.slices, s.uid))
    if not thin and len(volumes) > 1 and not best.is_named:
        return replace(
            best,
            defect=(
                f'{best.location}: {len(series)} series of one examination, '
                f'none with {SLICES[0]} slices or more of at most '
                f'{MAX_THICKNESS_MM:g} mm; choose one with --series, '
                '--list-series shows them.'
            ),
        )
    others = [s.uid for s in series if s is not best and not s.is_named]
    if not others:
        return best
    return replace(
        best,
        caveats=(
            *best.caveats,
            f'{len(series)} series of one examination; took this one of '
            f'{best.slices} slices of {best.thickness:g} mm, the thinnest '
            f'with the most slices; left out: {", ".join(others)}',
        ),
    )
