"""A folder of scans to cases: restartable, one bad scan at a time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
from terminaltables import AsciiTable
from tqdm import tqdm

from lungdet.errors import (
    AnnotationError,
    GeometryError,
    LungdetError,
)
from lungdet.io.case_store import (
    FORMAT,
    CaseRecord,
    check_uid,
    rebuild_index,
    write_case,
)
from lungdet.io.image import (
    SUFFIXES,
    canonical,
    load_volume,
    read_image,
    stem,
)
from lungdet.io.lidc import MIN_READERS, check_consensus
from lungdet.io.luna16 import read_annotations, read_excluded
from lungdet.io.metaimage import data_file
from lungdet.io.reference_set import official_subsets
from lungdet.prepare.case import (
    LUNG_MARGIN_MM,
    NODULE_MARGIN_MM,
    prepare_case,
)
from lungdet.prepare.find import FoundScan, find_scans, index_xml
from lungdet.prepare.lung_mask import LungField, find_lungs
from lungdet.prepare.official import check_official, official_counts
from lungdet.prepare.references import (
    References,
    WorldBox,
    has_boxes,
    of_boxes,
    of_label_image,
    of_outlines,
    read_boxes,
)
from lungdet.structures import Annotation, Volume

LUNG_LABELS = (3, 4)  # LUNA16: right and left; 5 is the windpipe
PARALLEL_TOL = 1e-3  # of direction cosines, lung mask against scan
BLOCKS, BLOCK_BYTES = 16, 4096  # of a file, for its fingerprint
Row = TypeVar('Row')


@dataclass(frozen=True)
class Scan:
    """One scan to prepare, with all its work order says.

    Attributes:
        uid: Series uid.
        path: Image file or DICOM folder.
        subset: LUNA16 subset.
        annotations: Reference nodules.
        excluded: Excluded findings.
        lungs: Lung mask file.
        xml: Reader XML.
        masks: Label image of the nodules.
        boxes: World boxes (x1, y1, z1, x2, y2, z2) of the nodules.
        min_readers: Readers that an outlined nodule needs.
        consensus: ``'half'`` or ``'union'`` of its readers' outlines.
        is_series: Whether ``uid`` is a series in the folder ``path``.
        hu_offset: Added to values that were stored without their offset.
        notes: What else a reader of the case must know.
    """

    uid: str
    path: Path
    subset: int | None = None
    annotations: tuple[Annotation, ...] = ()
    excluded: tuple[Annotation, ...] = ()
    lungs: Path | None = None
    xml: Path | None = None
    masks: Path | None = None
    boxes: tuple[WorldBox, ...] = ()
    min_readers: int = MIN_READERS
    consensus: str = 'half'
    is_series: bool = False
    hu_offset: int | None = None
    notes: tuple[str, ...] = ()


@dataclass
class Summary:
    """What a run of preparation did.

    Attributes:
        records: All cases now in the folder.
        failed: Series uid -> reason, of scans that could not be prepared.
        skipped: Scans that were done already.
        official_uids: LUNA16's series among the scans.
        notes: What a reader of the summary must know.
    """

    records: list[CaseRecord]
    failed: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    official_uids: Collection[str] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def official(self) -> int:
        """How many of the scans are LUNA16's."""
        return len(self.official_uids)

    def table(self) -> str:
        """Counts, and every failure with its reason."""
        nodules = [n for r in self.records for n in r.nodules]
        rows = [
            ['', 'found'],
            ['scans', str(len(self.records))],
            ['already done', str(self.skipped)],
            ['with nodules', str(sum(bool(r.nodules) for r in self.records))],
            ['nodules', str(len(nodules))],
            ['nodules with mask', str(sum(n.has_mask for n in nodules))],
            [
                'excluded findings',
                str(sum(len(r.excluded) for r in self.records)),
            ],
            [
                'lungs not found',
                str(sum(r.lung_mask == 'failed' for r in self.records)),
            ],
            ['failed', str(len(self.failed))],
        ]
        lines = [AsciiTable(rows, 'prepared').table]
        if self.official_uids:
            counts = official_counts(self.records, self.official_uids)
            rows = [['', 'found'], *_of(counts)]
            lines.append(AsciiTable(rows, 'LUNA16').table)
        lines += [f'note: {text}' for text in self.notes]
        lines += [f'failed: {u}: {why}' for u, why in self.failed.items()]
        lines += [
            f'note: {r.series_uid}: {text}'
            for r in self.records
            for text in r.warnings
        ]
        return '\n'.join(lines)


def _of(counts: dict[str, tuple[int, int]]) -> list[list[str]]:
    return [
        [what, f'{found:,} of {official:,} found']
        for what, (found, official) in counts.items()
    ]


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
    if lidc_xml is not None and not Path(lidc_xml).is_dir():
        raise FileNotFoundError(
            f'{lidc_xml}: no folder of reader XML there; check the path, or '
            'leave it out for nodules without masks.'
        )
    if not (root / 'annotations.csv').is_file():
        raise FileNotFoundError(
            f'{root}: no annotations.csv there, so this is no LUNA16 '
            'download; give its folder, or use "lungdet prepare folder".'
        )
    annotations = read_annotations(root / 'annotations.csv')
    excluded_file = root / 'annotations_excluded.csv'
    excluded = read_excluded(excluded_file) if excluded_file.is_file() else {}
    known = {*annotations, *excluded, *official_subsets()}
    found = find_scans(root, known=known, series=series)
    official = check_official(
        [scan.uid for scan in found],
        {
            'annotations.csv': annotations,
            excluded_file.name: excluded if excluded_file.is_file() else None,
        },
        root,
    )
    xml = index_xml(Path(lidc_xml)) if lidc_xml is not None else {}
    scans, notes = [], []
    if not excluded_file.is_file():
        notes.append(
            f'{excluded_file} is not there: no finding is excluded, and '
            'marks on such findings will count as false positives'
        )
    for one in found:
        uid, true = one.uid, official_subsets().get(one.uid)
        lungs = root / 'seg-lungs-LUNA16' / f'{uid}.mhd'
        if None not in (true, one.subset) and true != one.subset:
            notes.append(f'{uid} is of subset {true}, found in {one.subset}')
        scans.append(
            replace(
                _scan(one, hu_offset),
                subset=true if one.subset is None else one.subset,
                annotations=tuple(annotations.get(uid, ())),
                excluded=tuple(excluded.get(uid, ())),
                lungs=lungs if lungs.is_file() else None,
                xml=xml.get(uid),
                min_readers=min_readers,
                consensus=consensus,
            )
        )
    summary = prepare_scans(
        scans, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )
    summary.official_uids = official
    summary.notes = notes
    return summary


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
        AnnotationError: A table row that cannot be right, or of a scan that
            is not there.
    """
    table: dict[str, list[Annotation]] = {}
    boxes: dict[str, list[WorldBox]] = {}
    masks: dict[str, Path] = {}
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
    work = [
        replace(
            _scan(one, hu_offset),
            annotations=tuple(table.get(one.uid, ())),
            masks=masks.get(one.uid),
            boxes=tuple(boxes.get(one.uid, ())),
        )
        for one in found
    ]
    return prepare_scans(
        work, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )


def _scan(found: FoundScan, hu_offset: int | None) -> Scan:
    return Scan(
        found.uid,
        found.path,
        found.subset,
        is_series=found.is_series,
        hu_offset=hu_offset,
        notes=found.notes,
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


def prepare_scans(
    scans: Sequence[Scan],
    out: str | Path,
    *,
    jobs: int = 1,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare scans that are not done yet, then rebuild the index.

    Raises:
        GeometryError: A spacing that is not positive, or not that of other
            scans' cases in the folder.
        OSError: ``out`` cannot be written to.
    """
    out = Path(out)
    _check_writable(out)
    _check_spacing(out, spacing_mm, {scan.uid for scan in scans})
    todo = [s for s in scans if not _is_done(s, out, spacing_mm)]
    failed: dict[str, str] = {}
    bar = tqdm(total=len(todo), desc='prepare', disable=not progress)

    def note(uid: str, reason: str | None) -> None:
        bar.update()
        if reason is not None:
            failed[uid] = reason

    if jobs > 1 and len(todo) > 1:
        pool: Executor
        with ProcessPoolExecutor(jobs, get_context('spawn')) as pool:
            waiting = {
                pool.submit(prepare_one, s, out, spacing_mm): s for s in todo
            }
            for done in as_completed(waiting):
                try:
                    note(waiting[done].uid, done.result())
                except BrokenProcessPool:
                    note(
                        waiting[done].uid,
                        'a process was killed, perhaps for want of memory; '
                        'run again, with fewer jobs',
                    )
    else:
        for scan in todo:
            note(scan.uid, prepare_one(scan, out, spacing_mm))
    bar.close()
    index = rebuild_index(out)
    return Summary(
        [CaseRecord.from_dict(case) for case in index['cases']],
        failed,
        skipped=len(scans) - len(todo),
    )


def _check_writable(out: Path) -> None:
    """Fail before the first scan is read, not after."""
    try:
        (out / 'cases').mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out / 'cases'):
            pass
    except OSError as error:
        raise OSError(
            f'{out}: cannot be written to ({error.strerror}); give another '
            'folder for the cases.'
        ) from error


def _check_spacing(
    out: Path, spacing_mm: float, uids: Collection[str]
) -> None:
    if not spacing_mm > 0:
        raise GeometryError(
            f'spacing: {spacing_mm} mm; give a number above 0.'
        )
    for path in (out / 'cases').glob('[!.]*.json'):
        if path.stem in uids:
            continue
        case = json.loads(path.read_text(encoding='utf-8'))
        if case.get('spacing_mm') != spacing_mm:
            raise GeometryError(
                f'{path}: a case of {case.get("spacing_mm")} mm that is not '
                f'of these scans; one folder holds one spacing, and this run '
                f'makes {spacing_mm} mm. Give another folder.'
            )


def _settings(scan: Scan, spacing_mm: float) -> dict:
    """What a case depends on; equal settings need no second run."""
    excluded = json.dumps([vars(a) for a in scan.excluded])
    return json.loads(
        json.dumps(
            {
                'spacing_mm': spacing_mm,
                'margins_mm': [LUNG_MARGIN_MM, NODULE_MARGIN_MM],
                'scan': _fingerprint(scan.path),
                'annotations': [vars(a) for a in scan.annotations],
                'boxes': scan.boxes,
                'excluded': zlib.crc32(excluded.encode()),
                'lungs': _fingerprint(scan.lungs),
                'xml': _fingerprint(scan.xml),
                'consensus': [scan.min_readers, scan.consensus],
                'masks': _fingerprint(scan.masks),
                'hu_offset': scan.hu_offset,
                'subset': scan.subset,
            }
        )
    )


def _fingerprint(path: Path | None) -> int | None:
    """Checksum of the names, sizes and a sample of the bytes of a scan.

    Of a header also its voxels' file, of a folder all its files. The sample
    is spread over a file: heads of raw scans are air.
    """
    if path is None:
        return None
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob('*') if p.is_file())
    elif path.suffix.lower() == '.mhd':
        files.append(data_file(path))
    crc = 0
    for one in files:
        size = one.stat().st_size
        crc = zlib.crc32(f'{one.name} {size} '.encode(errors='replace'), crc)
        with open(one, 'rb') as file:
            for k in range(BLOCKS):
                file.seek(k * max(size - BLOCK_BYTES, 0) // (BLOCKS - 1))
                crc = zlib.crc32(file.read(BLOCK_BYTES), crc)
    return crc


def _is_done(scan: Scan, out: Path, spacing_mm: float) -> bool:
    path = _case_file(out, scan)
    if not path.is_file():
        return False
    try:
        case = json.loads(path.read_text(encoding='utf-8'))
        settings = _settings(scan, spacing_mm)
    except (ValueError, OSError):
        return False
    return (
        case.get('format') == FORMAT
        and case.get('settings') == settings
        and all(
            path.with_name(f'{scan.uid}.{name}.b2nd').is_file()
            for name in case['checksums']
        )
    )


def _case_file(out: Path, scan: Scan) -> Path:
    return out / 'cases' / f'{scan.uid}.json'


def prepare_one(scan: Scan, out: Path, spacing_mm: float) -> str | None:
    """Prepare one scan; the reason as text if it cannot be.

    A scan that fails leaves no case of earlier settings behind.
    """
    try:
        _prepare(scan, out, spacing_mm)
    except Exception as error:  # the other scans must go on
        _case_file(out, scan).unlink(missing_ok=True)
        if isinstance(error, (LungdetError, OSError)):
            return str(error)
        return f'{scan.path}: {type(error).__name__}: {error}'
    return None


def _prepare(scan: Scan, out: Path, spacing_mm: float) -> None:
    check_uid(scan.uid)  # before minutes of work
    volume = load_volume(
        scan.path,
        series_uid=scan.uid if scan.is_series else None,
        hu_offset=scan.hu_offset,
    )
    volume.series_uid = scan.uid
    volume.warnings += scan.notes
    found = _references(scan, volume)
    record, arrays = prepare_case(
        volume,
        annotations=found.annotations,
        excluded=scan.excluded,
        lungs=_lungs(scan, volume),
        labels=found.labels,
        label_ids=found.ids,
        boxes=found.boxes,
        spacing_mm=spacing_mm,
        subset=scan.subset,
    )
    record.settings = _settings(scan, spacing_mm)
    write_case(out, record, arrays)


def _references(scan: Scan, volume: Volume) -> References:
    if scan.masks is not None:
        return of_label_image(scan.masks, volume)
    if scan.boxes:
        return of_boxes(scan.boxes, volume.geometry)
    if scan.xml is not None:
        return of_outlines(
            scan.xml,
            scan.annotations,
            volume,
            min_readers=scan.min_readers,
            mode=scan.consensus,
        )
    return References(list(scan.annotations))


def _lungs(scan: Scan, volume: Volume) -> LungField:
    if scan.lungs is None:
        return find_lungs(volume)
    array, geometry = read_image(scan.lungs)
    turned = canonical(Volume(array, geometry))
    tilt = turned.geometry.direction - volume.geometry.direction
    if np.abs(tilt).max() > PARALLEL_TOL:
        raise AnnotationError(
            f'{scan.lungs}: its axes are not parallel to those of the scan; '
            'resample the lung mask to the scan, or take it away.'
        )
    mask = np.isin(turned.array, LUNG_LABELS)
    if not mask.any():
        return find_lungs(volume)
    return LungField(mask, turned.geometry, 'given')
