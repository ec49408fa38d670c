"""Preparing a user's own scans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lungdet.errors import AnnotationError
from lungdet.io.files import is_litter
from lungdet.io.image import SUFFIXES, stem
from lungdet.io.luna16 import read_annotations
from lungdet.io.ray_cluster import RayOptions
from lungdet.io.table_file import TableFile
from lungdet.prepare.discover import ScanSource, discover_scans
from lungdet.prepare.label_image import LabelImageReferences
from lungdet.prepare.references import (
    ReferenceSource,
    TableReferences,
    refuse_repeated,
)
from lungdet.prepare.run import prepare_scans
from lungdet.prepare.summary import Summary
from lungdet.prepare.task import ScanTask
from lungdet.prepare.world_boxes import BoxReferences, has_boxes, read_boxes


def prepare_folder(
    scans: str | Path,
    out: str | Path,
    *,
    annotations: str | Path | None = None,
    series: Collection[str] = (),
    hu_offset: int | None = None,
    jobs: int | RayOptions = 0,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare a user's own scans.

    Args:
        scans: Folder with image files or DICOM folders.
        out: Folder for the cases.
        annotations: A csv with LUNA16's columns or with world boxes
            (seriesuid, x1, y1, z1, x2, y2, z2), a folder with one label image
            ``<name>.*`` per scan, or None. A scan's name is its file's stem,
            or for DICOM its series uid or, where it is the only series of its
            folder, that folder's name.
        series: Only these series of DICOM folders; empty for all.
        hu_offset: Added to values that were stored without their offset.
        jobs: Processes or a Ray cluster, as ``prepare_scans``.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        SeriesError: No scan below ``scans``.
        FileNotFoundError: No folder ``scans``, or nothing at
            ``annotations``.
        AnnotationError: An invalid table row, a row of a missing scan, or
            annotations without any row or mask.
    """
    path = None if annotations is None else Path(annotations)
    if path is not None and not path.exists():
        raise FileNotFoundError(f'{path}: not there; check the path.')
    sources = discover_scans(Path(scans), series=series, skip=path)
    references: dict[str, ReferenceSource] = {}
    caveats: list[str] = []
    if path is not None:
        references = references_by_uid(read_references(path), sources, path)
        caveats = _without_entry(sources, references, path)
    tasks = [
        ScanTask(
            source,
            references.get(source.uid, TableReferences()),
            hu_offset=hu_offset,
        )
        for source in sources
    ]
    summary = prepare_scans(
        tasks, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )
    return replace(summary, caveats=[*summary.caveats, *caveats])


def read_references(path: Path) -> dict[str, ReferenceSource]:
    """The source of each scan's nodules, by the scan's name in the
    annotations.

    Args:
        path: A table of centres or of boxes, or a folder of label images.

    Raises:
        AnnotationError: An invalid or repeated row, or no row or image at
            all.
    """
    references: dict[str, ReferenceSource]
    table = TableFile(path)
    if path.is_dir():
        references = {}
        for file in sorted(path.iterdir()):
            if is_litter(file) or not file.name.lower().endswith(SUFFIXES):
                continue
            if stem(file) in references:
                raise AnnotationError(
                    f'{file}: another label image there is also named '
                    f'{stem(file)}; keep one.'
                )
            references[stem(file)] = LabelImageReferences(file)
    elif has_boxes(table):
        boxes = read_boxes(table)
        refuse_repeated(path, boxes)
        references = {
            name: BoxReferences(tuple(rows)) for name, rows in boxes.items()
        }
    else:
        nodules = read_annotations(table)
        refuse_repeated(path, nodules)
        references = {
            name: TableReferences(tuple(rows))
            for name, rows in nodules.items()
        }
    if not references:
        what = 'no row'
        if path.is_dir():
            what = f'no mask image ({", ".join(SUFFIXES)})'
        raise AnnotationError(
            f'{path}: {what} in it, so no scan would have a nodule; '
            'check the path, or leave --annotations out for scans without '
            'nodules.'
        )
    return references


def references_by_uid(
    references: Mapping[str, ReferenceSource],
    sources: Sequence[ScanSource],
    path: Path,
) -> dict[str, ReferenceSource]:
    """The same by series uid, also where a folder's name was used.

    Args:
        references: By the names that the annotations use.
        sources: The available scans.
        path: Path of the annotations, for the message.

    Raises:
        AnnotationError: An entry that belongs to no scan, or a scan under two
            names.
    """
    uids = {s.folder: s.uid for s in sources if s.folder}
    uids |= {s.uid: s.uid for s in sources}
    stray = sorted(set(references) - set(uids))
    if stray:
        raise AnnotationError(
            f'{path}: names {len(stray)} scans that are not there, such as '
            f'{stray[0]!r}; check the names.'
        )
    by_uid = {uids[name]: entry for name, entry in references.items()}
    if len(by_uid) < len(references):
        raise AnnotationError(
            f'{path}: names a scan by its series uid and by its folder; use '
            'one name per scan.'
        )
    return by_uid


def _without_entry(
    sources: Sequence[ScanSource], named: Collection[str], path: Path
) -> list[str]:
    """A caveat if the annotations name only some of the scans."""
    without = [source.uid for source in sources if source.uid not in named]
    if not without:
        return []
    return [
        f'{len(without)} of {len(sources)} scans have no entry in {path} '
        f'and count as without nodules, such as {without[0]}'
    ]
