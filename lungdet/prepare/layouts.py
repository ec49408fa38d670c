"""What a LUNA16 download, or a user's own folder, holds to prepare."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from lungdet.errors import AnnotationError
from lungdet.io.image import SUFFIXES, stem
from lungdet.io.lidc_masks import MIN_READERS, check_consensus
from lungdet.io.luna16 import read_annotations, read_excluded
from lungdet.io.reference_set import official_reference, official_subsets
from lungdet.prepare.find import FoundScan, find_scans, index_xml
from lungdet.prepare.official import check_official
from lungdet.prepare.references import WorldBox, has_boxes, read_boxes
from lungdet.prepare.run import Scan, prepare_scans
from lungdet.prepare.summary import Summary
from lungdet.structures import Annotation

ANNOTATIONS, EXCLUDED = 'annotations.csv', 'annotations_excluded.csv'
Tables = dict[str, dict[str, list[Annotation]]]
Row = TypeVar('Row')


def prepare_luna16(
    root: str | Path,
    out: str | Path,
    *,
    lidc_xml: str | Path | None = None,
    min_readers: int = MIN_READERS,
    consensus: str = 'half',
    series: Collection[str] = (),
    hu_offset: int | None = None,
    jobs: int = 1,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare a LUNA16 download, or any part of one.

    Args:
        root: Folder with the scans (subset0..9, or DICOM folders of any
            name), the tables and where present seg-lungs-LUNA16.
        out: Folder for the cases.
        lidc_xml: Folder with reader XML, under any names.
        min_readers: Readers that must have outlined a nodule for a mask.
        consensus: ``'half'``, voxels that at least half of its readers drew,
            or ``'union'``, voxels that any of them drew.
        series: Only these series of DICOM folders; empty for all.
        hu_offset: Added to values that were stored without their offset.
        jobs: Processes.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        FileNotFoundError: No folder ``lidc_xml``, or no annotations.csv.
        SeriesError: No scan below ``root``.
        AnnotationError: No such consensus, or a table whose rows of an
            official series are not the official ones.
    """
    root = Path(root)
    check_consensus(min_readers, consensus)
    xml = _reader_xml(lidc_xml)
    tables, caveats = _luna16_tables(root)
    known = set(official_subsets()).union(*tables.values())
    found = find_scans(root, known=known, series=series)
    official = check_official([scan.uid for scan in found], tables, root)
    scans = [
        replace(
            _luna16_scan(one, root, tables, hu_offset),
            xml=xml.get(one.uid),
            min_readers=min_readers,
            consensus=consensus,
        )
        for one in found
    ]
    summary = prepare_scans(
        scans, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )
    summary.official_uids = official
    summary.caveats += caveats + _wrong_subsets(found) + _unread(found, xml)
    return summary


def _luna16_tables(root: Path) -> tuple[Tables, list[str]]:
    """Findings by file name and series, and what is to be known of them."""
    annotations, excluded = root / ANNOTATIONS, root / EXCLUDED
    if not annotations.is_file():
        raise FileNotFoundError(
            f'{root}: no {ANNOTATIONS} there, so this is no LUNA16 '
            'download; give its folder, or use "lungdet prepare folder".'
        )
    tables: Tables = {ANNOTATIONS: read_annotations(annotations)}
    if excluded.is_file():
        return tables | {EXCLUDED: read_excluded(excluded)}, []
    return tables | {EXCLUDED: official_reference().excluded}, [
        f'{excluded} is not there: the official list was taken for the series '
        'of LUNA16; marks on such findings in others will count as false '
        'positives'
    ]


def _reader_xml(folder: str | Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f'{folder}: no folder of reader XML there; check the path, or '
            'leave it out for nodules without masks.'
        )
    found = index_xml(Path(folder))
    if not found:
        raise AnnotationError(
            f'{folder}: no reader XML of a CT series there; check the path, '
            'or leave it out for nodules without masks.'
        )
    return found


def _unread(found: Sequence[FoundScan], xml: dict[str, Path]) -> list[str]:
    """A note if there is reader XML, but not of every scan."""
    without = [one.uid for one in found if one.uid not in xml]
    if not xml or not without:
        return []
    return [
        f'{len(without)} of {len(found)} scans have no reader XML and so no '
        f'masks, such as {without[0]}'
    ]


def _luna16_scan(
    found: FoundScan, root: Path, tables: Tables, hu_offset: int | None
) -> Scan:
    uid, subset = found.uid, found.subset
    annotations, excluded = tables[ANNOTATIONS], tables[EXCLUDED]
    lungs = root / 'seg-lungs-LUNA16' / f'{uid}.mhd'
    return replace(
        _scan(found, hu_offset),
        subset=official_subsets().get(uid) if subset is None else subset,
        annotations=tuple(annotations.get(uid, ())),
        excluded=tuple(excluded.get(uid, ())),
        lungs=lungs if lungs.is_file() else None,
    )


def _wrong_subsets(found: Sequence[FoundScan]) -> list[str]:
    """A note for each official series in a folder of another subset."""
    official = official_subsets()
    return [
        f'{one.uid} is of subset {official[one.uid]}, found in {one.subset}'
        for one in found
        if one.uid in official and one.subset not in (None, official[one.uid])
    ]


def prepare_folder(
    scans: str | Path,
    out: str | Path,
    *,
    annotations: str | Path | None = None,
    series: Collection[str] = (),
    hu_offset: int | None = None,
    jobs: int = 1,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare a user's own scans.

    Args:
        scans: Folder with image files or DICOM folders.
        out: Folder for the cases.
        annotations: A csv with LUNA16's columns or with world boxes
            (seriesuid, x1, y1, z1, x2, y2, z2), a folder with one label
            image ``<name>.*`` a scan, or None. A scan's name is its file's
            stem, or for DICOM its series uid or, where it is the only
            series of its folder, that folder's name.
        series: Only these series of DICOM folders; empty for all.
        hu_offset: Added to values that were stored without their offset.
        jobs: Processes.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        SeriesError: No scan below ``scans``.
        FileNotFoundError: No folder ``scans``, or nothing at
            ``annotations``.
        AnnotationError: A table row that cannot be right, or of a scan that
            is not there; or annotations without a row or a mask.
    """
    table: dict[str, list[Annotation]] = {}
    boxes: dict[str, list[WorldBox]] = {}
    masks: dict[str, Path] = {}
    caveats: list[str] = []
    if annotations is not None and not Path(annotations).exists():
        raise FileNotFoundError(f'{annotations}: not there; check the path.')
    found = find_scans(
        Path(scans),
        series=series,
        skip=None if annotations is None else Path(annotations),
    )
    if annotations is not None and Path(annotations).is_dir():
        masks = {
            stem(file): file
            for file in sorted(Path(annotations).iterdir())
            if file.name.lower().endswith(SUFFIXES)
        }
    elif annotations is not None and has_boxes(Path(annotations)):
        boxes = read_boxes(Path(annotations))
    elif annotations is not None:
        table = read_annotations(annotations)
    table = _by_uid(table, found, str(annotations))
    boxes = _by_uid(boxes, found, str(annotations))
    masks = _by_uid(masks, found, str(annotations))
    if annotations is not None:
        caveats = _unnamed(found, {*table, *boxes, *masks}, Path(annotations))
    work = [
        replace(
            _scan(one, hu_offset),
            annotations=tuple(table.get(one.uid, ())),
            masks=masks.get(one.uid),
            boxes=tuple(boxes.get(one.uid, ())),
        )
        for one in found
    ]
    summary = prepare_scans(
        work, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )
    summary.caveats += caveats
    return summary


def _unnamed(
    found: Sequence[FoundScan], named: Collection[str], annotations: Path
) -> list[str]:
    """A note if the annotations name some of the scans only.

    Raises:
        AnnotationError: They name none.
    """
    without = [one.uid for one in found if one.uid not in named]
    if not named:
        what = (
            f'no mask image ({", ".join(SUFFIXES)})'
            if annotations.is_dir()
            else 'no row'
        )
        raise AnnotationError(
            f'{annotations}: {what} in it, so no scan would have a nodule; '
            'check the path, or leave --annotations out for scans without '
            'nodules.'
        )
    if not without:
        return []
    return [
        f'{len(without)} of {len(found)} scans have no entry in {annotations} '
        f'and count as without nodules, such as {without[0]}'
    ]


def _scan(found: FoundScan, hu_offset: int | None) -> Scan:
    return Scan(
        found.uid,
        found.path,
        found.subset,
        is_series=found.is_series,
        hu_offset=hu_offset,
        caveats=found.caveats,
    )


def _by_uid(
    table: Mapping[str, Row], found: Sequence[FoundScan], where: str
) -> dict[str, Row]:
    """A table's entries under series uids, folder names replaced.

    Raises:
        AnnotationError: An entry of no scan, or one scan under two names.
    """
    uids = {one.folder: one.uid for one in found if one.folder}
    uids |= {one.uid: one.uid for one in found}
    stray = sorted(set(table) - set(uids))
    if stray:
        raise AnnotationError(
            f'{where}: names {len(stray)} scans that are not there, such as '
            f'{stray[0]!r}; check the names.'
        )
    named = {uids[name]: rows for name, rows in table.items()}
    if len(named) < len(table):
        raise AnnotationError(
            f'{where}: names a scan by its series uid and by its folder; use '
            'one name a scan.'
        )
    return named
