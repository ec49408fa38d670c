"""Preparing a LUNA16 download, or any part of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from lungdet.errors import AnnotationError
from lungdet.io.lidc_masks import MIN_READERS, check_consensus
from lungdet.io.luna16 import (
    ANNOTATIONS,
    EXCLUDED,
    read_annotations,
    read_excluded,
)
from lungdet.io.ray_cluster import RayOptions
from lungdet.io.reference_set import official_reference, official_subsets
from lungdet.prepare.discover import ScanSource, discover_scans
from lungdet.prepare.official import check_official
from lungdet.prepare.outlines import OutlineReferences, index_reader_xml
from lungdet.prepare.references import (
    ReferenceSource,
    TableReferences,
    refuse_repeated,
)
from lungdet.prepare.run import prepare_scans
from lungdet.prepare.scan_ids import check_series, known_series, listed_series
from lungdet.prepare.summary import Summary
from lungdet.prepare.task import ScanTask
from lungdet.structures import AnnotationTable

LUNG_MASKS = 'seg-lungs-LUNA16'


def prepare_luna16(
    root: str | Path,
    out: str | Path,
    *,
    lidc_xml: str | Path | None = None,
    min_readers: int = MIN_READERS,
    consensus: str = 'half',
    series: Collection[str] = (),
    hu_offset: int | None = None,
    jobs: int | RayOptions = 0,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare a LUNA16 download, or any part of one.

    Args:
        root: Folder with the scans (subset0..9, or DICOM folders of any name),
            the tables and, if present, seg-lungs-LUNA16.
        out: Folder for the cases.
        lidc_xml: Folder with reader XML, under any names.
        min_readers: Readers that must have outlined a nodule for a mask.
        consensus: ``'half'``, voxels that at least half of its readers drew,
            or ``'union'``, voxels that any of them drew.
        series: Only these series of DICOM folders; empty for all.
        hu_offset: Added to values that were stored without their offset.
        jobs: Processes or a Ray cluster, as ``prepare_scans``.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        FileNotFoundError: No folder ``lidc_xml``, or no annotations.csv.
        SeriesError: No scan below ``root``.
        AnnotationError: Settings, tables or names that cannot be right.
    """
    root = Path(root)
    check_consensus(min_readers, consensus)
    xml = {} if lidc_xml is None else _reader_xml(Path(lidc_xml))
    tables, caveats = read_tables(root)
    sources, doubts = _named_scans(root, tables, series)
    official = check_official([s.uid for s in sources], tables, root)
    tasks = [
        ScanTask(
            _with_subset(source),
            _references(source.uid, tables, xml, min_readers, consensus),
            excluded=tuple(tables[EXCLUDED].get(source.uid, ())),
            lung_mask=_lung_mask(root, source.uid),
            hu_offset=hu_offset,
        )
        for source in sources
    ]
    summary = prepare_scans(
        tasks, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )
    doubts += _wrong_subsets(sources) + _without_xml(sources, xml)
    return replace(
        summary,
        official_uids=official,
        caveats=[*summary.caveats, *caveats, *doubts],
    )


def _named_scans(
    root: Path, tables: dict[str, AnnotationTable], series: Collection[str]
) -> tuple[list[ScanSource], list[str]]:
    """The scans, and caveats about rows without a scan and scans without a
    row."""
    named = {**tables, **listed_series(root)}
    known = known_series(named.values())
    sources = discover_scans(root, known=known, series=series)
    return sources, check_series(sources, known, named, root)


def read_tables(root: Path) -> tuple[dict[str, AnnotationTable], list[str]]:
    """The tables of a download by file name, and caveats.

    Raises:
        FileNotFoundError: No annotations.csv.
        AnnotationError: An invalid row, or one that repeats another nodule.
    """
    annotations, excluded = root / ANNOTATIONS, root / EXCLUDED
    if not annotations.is_file():
        raise FileNotFoundError(
            f'{root}: no {ANNOTATIONS} there, so this is not a LUNA16 '
            'download; give its folder, or use "lungdet prepare folder".'
        )
    tables, caveats = {ANNOTATIONS: read_annotations(annotations)}, []
    refuse_repeated(annotations, tables[ANNOTATIONS])
    if not tables[ANNOTATIONS]:
        caveats.append(f'{annotations} has no row, so no scan has a nodule')
    if excluded.is_file():
        return tables | {EXCLUDED: read_excluded(excluded)}, caveats
    caveats.append(
        f'{excluded} is not there: the official list was taken for the series '
        'of LUNA16; marks on such findings in others will count as false '
        'positives'
    )
    return tables | {EXCLUDED: official_reference().excluded}, caveats


def _reader_xml(folder: Path) -> dict[str, Path]:
    """Reader XML by series uid; at least one."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{folder}: no folder of reader XML there; check the path, or '
            'leave it out for nodules without masks.'
        )
    files = index_reader_xml(folder)
    if not files:
        raise AnnotationError(
            f'{folder}: no reader XML of a CT series there; check the path, '
            'or leave it out for nodules without masks.'
        )
    return files


def _references(
    uid: str,
    tables: dict[str, AnnotationTable],
    xml: dict[str, Path],
    min_readers: int,
    consensus: str,
) -> ReferenceSource:
    """A scan's rows, and its reader XML if there is any."""
    annotations = tuple(tables[ANNOTATIONS].get(uid, ()))
    if uid not in xml:
        return TableReferences(annotations)
    return OutlineReferences(xml[uid], annotations, min_readers, consensus)


def _with_subset(source: ScanSource) -> ScanSource:
    """The official subset, if no folder name states one."""
    if source.subset is not None:
        return source
    return replace(source, subset=official_subsets().get(source.uid))


def _lung_mask(root: Path, uid: str) -> Path | None:
    path = root / LUNG_MASKS / f'{uid}.mhd'
    return path if path.is_file() else None


def _wrong_subsets(sources: Sequence[ScanSource]) -> list[str]:
    """A caveat for each official series in a folder of another subset."""
    official = official_subsets()
    return [
        f'{source.uid} is of subset {official[source.uid]}, found in '
        f'{source.subset}'
        for source in sources
        if source.uid in official
        and source.subset not in (None, official[source.uid])
    ]


def _without_xml(
    sources: Sequence[ScanSource], xml: dict[str, Path]
) -> list[str]:
    """A caveat if there is reader XML, but not for every scan."""
    without = [source.uid for source in sources if source.uid not in xml]
    if not xml or not without:
        return []
    return [
        f'{len(without)} of {len(sources)} scans have no reader XML and so no '
        f'masks, such as {without[0]}'
    ]
