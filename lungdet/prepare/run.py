"""A folder of scans to cases: restartable, one bad scan at a time."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib import resources
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable
from tqdm import tqdm

from lungdet.errors import AnnotationError, LungdetError, SeriesError
from lungdet.io.case_store import (
    FORMAT,
    CaseRecord,
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
from lungdet.io.lidc import consensus_masks, read_lidc_xml
from lungdet.io.luna16 import read_annotations, read_excluded
from lungdet.prepare.case import prepare_case
from lungdet.prepare.lung_mask import LungField, find_lungs
from lungdet.structures import Annotation, Volume

LUNG_LABELS = (3, 4)  # LUNA16: right and left; 5 is the windpipe
SUBSET = re.compile(r'subset(\d)(?!\d)')
OFFICIAL = {'scans': 888, 'nodules': 1186, 'excluded': 35192}


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
    """

    uid: str
    path: Path
    subset: int | None = None
    annotations: tuple[Annotation, ...] = ()
    excluded: tuple[Annotation, ...] = ()
    lungs: Path | None = None
    xml: Path | None = None
    masks: Path | None = None


@dataclass
class Summary:
    """What a run of preparation did.

    Attributes:
        records: All cases now in the folder.
        failed: Series uid -> reason, of scans that could not be prepared.
        skipped: Scans that were done already.
        official: Official series among the cases.
    """

    records: list[CaseRecord]
    failed: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    official: int = 0

    def table(self) -> str:
        """Counts, and every failure with its reason."""
        nodules = [n for r in self.records for n in r.nodules]
        rows = [
            ['', 'found'],
            ['scans', str(len(self.records))],
            ['of LUNA16', f'{self.official} of {OFFICIAL["scans"]}'],
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
        lines += [f'failed: {u}: {why}' for u, why in self.failed.items()]
        lines += [
            f'note: {r.series_uid}: {text}'
            for r in self.records
            for text in r.warnings
        ]
        return '\n'.join(lines)


def prepare_luna16(
    root: str | Path,
    out: str | Path,
    *,
    lidc_xml: str | Path | None = None,
    jobs: int = 1,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare a LUNA16 download, or any part of one.

    Args:
        root: Folder with subset0..9 (scans or DICOM folders), the tables and
            where present seg-lungs-LUNA16.
        out: Folder for the cases.
        lidc_xml: Folder with reader XML, under any names.
        jobs: Processes.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        SeriesError: No scan below ``root``.
        AnnotationError: A table whose rows of an official series are not the
            official ones.
    """
    root = Path(root)
    annotations = read_annotations(root / 'annotations.csv')
    excluded_file = root / 'annotations_excluded.csv'
    excluded = read_excluded(excluded_file) if excluded_file.is_file() else {}
    found = find_scans(root)
    official = check_official(
        [uid for uid, _, _ in found], annotations, excluded, root
    )
    xml = _index_xml(Path(lidc_xml)) if lidc_xml is not None else {}
    scans = []
    for uid, path, subset in found:
        lungs = root / 'seg-lungs-LUNA16' / f'{uid}.mhd'
        scans.append(
            Scan(
                uid,
                path,
                subset,
                tuple(annotations.get(uid, ())),
                tuple(excluded.get(uid, ())),
                lungs=lungs if lungs.is_file() else None,
                xml=xml.get(uid),
            )
        )
    summary = prepare_scans(
        scans, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )
    summary.official = official
    return summary


def prepare_folder(
    scans: str | Path,
    out: str | Path,
    *,
    annotations: str | Path | None = None,
    jobs: int = 1,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare a user's own scans.

    Args:
        scans: Folder with image files or DICOM folders.
        out: Folder for the cases.
        annotations: A csv with LUNA16's columns, a folder with one label
            image ``<stem>.*`` a scan, or None.
        jobs: Processes.
        spacing_mm: Isotropic spacing.
        progress: Show a bar.

    Raises:
        SeriesError: No scan below ``scans``.
        AnnotationError: A table row that cannot be right, or of a scan that
            is not there.
    """
    found = find_scans(Path(scans))
    table: dict[str, list[Annotation]] = {}
    masks: dict[str, Path] = {}
    if annotations is not None and Path(annotations).is_dir():
        masks = {
            stem(file): file
            for file in sorted(Path(annotations).iterdir())
            if file.name.lower().endswith(SUFFIXES)
        }
    elif annotations is not None:
        table = read_annotations(annotations)
    stray = sorted((set(table) | set(masks)) - {uid for uid, _, _ in found})
    if stray:
        raise AnnotationError(
            f'{annotations}: names {len(stray)} scans that are not in '
            f'{scans}, such as {stray[0]!r}; check the names.'
        )
    work = [
        Scan(uid, path, None, tuple(table.get(uid, ())), masks=masks.get(uid))
        for uid, path, _ in found
    ]
    return prepare_scans(
        work, out, jobs=jobs, spacing_mm=spacing_mm, progress=progress
    )


def find_scans(root: Path) -> list[tuple[str, Path, int | None]]:
    """(uid, path, subset) of every scan, by uid.

    Image files count anywhere but in mask folders; a folder with ``.dcm``
    files is one series, named by the folder.

    Raises:
        SeriesError: None found, or one uid twice.
    """
    found: dict[str, tuple[Path, int | None]] = {}
    for path in sorted(root.rglob('*')):
        inner = path.relative_to(root).parts
        if any(part.startswith(('seg-lungs', 'masks', '.')) for part in inner):
            continue
        is_image = path.is_file() and path.name.lower().endswith(SUFFIXES)
        is_series = path.is_dir() and any(path.glob('*.dcm'))
        if not (is_image or is_series):
            continue
        uid = stem(path) if is_image else path.name
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


def _index_xml(folder: Path) -> dict[str, Path]:
    """Reader XML files by the series uid inside."""
    found = {}
    for path in sorted(folder.rglob('*.xml')):
        head = path.read_bytes()[:4000].decode('utf-8', errors='replace')
        match = re.search(r'<SeriesInstanceU[iI][dD]>\s*([0-9.]+)\s*<', head)
        if match:
            found[match.group(1)] = path
    return found


def check_official(
    uids: Sequence[str],
    annotations: dict[str, list[Annotation]],
    excluded: dict[str, list[Annotation]],
    root: Path,
) -> int:
    """Compare the rows of official series with the official tables.

    Returns:
        How many series are official.

    Raises:
        AnnotationError: A row is missing, added or changed.
    """
    scans = set(_official_column('subsets.csv.gz', 'seriesuid'))
    mine = [uid for uid in uids if uid in scans]
    if not mine:
        return 0
    for name, given in (
        ('annotations.csv', annotations),
        ('annotations_excluded.csv', excluded),
    ):
        if name.endswith('excluded.csv') and not given:
            continue
        official = _official_rows(f'{name}.gz')
        for uid in mine:
            rows = sorted(
                (
                    *a.center_mm,
                    -1.0 if a.diameter_mm is None else a.diameter_mm,
                )
                for a in given.get(uid, [])
            )
            wanted = sorted(official.get(uid, []))
            if rows != wanted:
                raise AnnotationError(
                    f'{root / name}: series {uid} has {len(rows)} rows, the '
                    f'official table {len(wanted)}'
                    + (
                        ''
                        if len(rows) != len(wanted)
                        else ', and values differ'
                    )
                    + '; restore the official file.'
                )
    return len(mine)


def _official_text(name: str) -> list[dict[str, str]]:
    packed = resources.files('lungdet.io').joinpath('official', name)
    text = gzip.decompress(packed.read_bytes()).decode('utf-8')
    return list(csv.DictReader(io.StringIO(text)))


def _official_column(name: str, column: str) -> list[str]:
    return [row[column] for row in _official_text(name)]


def _official_rows(name: str) -> dict[str, list[tuple[float, ...]]]:
    rows: dict[str, list[tuple[float, ...]]] = {}
    for row in _official_text(name):
        diameter = float(row['diameter_mm'])
        values = [float(row[f'coord{axis}']) for axis in 'XYZ']
        rows.setdefault(row['seriesuid'], []).append(
            (*values, diameter if diameter > 0 else -1.0)
        )
    return rows


def prepare_scans(
    scans: Sequence[Scan],
    out: str | Path,
    *,
    jobs: int = 1,
    spacing_mm: float = 1.0,
    progress: bool = True,
) -> Summary:
    """Prepare scans that are not done yet, then rebuild the index."""
    out = Path(out)
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
                note(waiting[done].uid, done.result())
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


def _settings(scan: Scan, spacing_mm: float) -> dict:
    """What a case depends on; equal settings need no second run."""
    return json.loads(
        json.dumps(
            {
                'spacing_mm': spacing_mm,
                'annotations': [vars(a) for a in scan.annotations],
                'excluded': len(scan.excluded),
                'lungs': scan.lungs is not None,
                'xml': scan.xml is not None,
                'masks': scan.masks is not None,
                'subset': scan.subset,
            }
        )
    )


def _is_done(scan: Scan, out: Path, spacing_mm: float) -> bool:
    path = out / 'cases' / f'{scan.uid}.json'
    if not path.is_file():
        return False
    case = json.loads(path.read_text(encoding='utf-8'))
    return case.get('format') == FORMAT and case['settings'] == _settings(
        scan, spacing_mm
    )


def prepare_one(scan: Scan, out: Path, spacing_mm: float) -> str | None:
    """Prepare one scan; the reason as text if it cannot be."""
    try:
        volume = load_volume(scan.path)
        volume.series_uid = scan.uid
        labels, annotations, ids = _nodules(scan, volume)
        record, arrays = prepare_case(
            volume,
            annotations=annotations,
            excluded=scan.excluded,
            lungs=_lungs(scan, volume),
            labels=labels,
            label_ids=ids,
            spacing_mm=spacing_mm,
            subset=scan.subset,
        )
        record.settings = _settings(scan, spacing_mm)
        write_case(out, record, arrays)
    except (LungdetError, OSError, ET.ParseError) as error:
        return str(error)
    return None


def _lungs(scan: Scan, volume: Volume) -> LungField:
    if scan.lungs is None:
        return find_lungs(volume)
    array, geometry = read_image(scan.lungs)
    turned = canonical(Volume(array, geometry))
    mask = np.isin(turned.array, LUNG_LABELS)
    if not mask.any():
        return find_lungs(volume)
    return LungField(mask, turned.geometry, 'given')


def _nodules(
    scan: Scan, volume: Volume
) -> tuple[np.ndarray | None, list[Annotation], list[int | None]]:
    """Labels on the scan's grid, the nodules, and their label numbers."""
    annotations = list(scan.annotations)
    if scan.masks is not None:
        return _from_masks(scan.masks, volume)
    if scan.xml is None:
        return None, annotations, [None] * len(annotations)
    reading = read_lidc_xml(scan.xml)
    if reading is None:
        return None, annotations, [None] * len(annotations)
    # outlines are pixels of the file's own grid; a turned scan's turn too
    drawn = volume.source_geometry or volume.geometry
    labels, nodules = consensus_masks(reading, drawn)
    labels = canonical(Volume(labels, drawn)).array
    ids: list[int | None] = []
    readers = {n.id: n.num_readers for n in nodules}
    for number, found in enumerate(annotations):
        index = volume.geometry.to_index(np.array([found.center_mm]))[0]
        index = np.clip(np.rint(index), 0, np.array(labels.shape) - 1)
        label = int(labels[tuple(index.astype(int))])
        ids.append(label or None)
        if not label:
            volume.warnings.append(
                f'nodule {number + 1} at {found.center_mm} has no outline of '
                '3 readers and stays without mask'
            )
        else:
            annotations[number] = Annotation(
                found.center_mm, found.diameter_mm, readers[label]
            )
    unused = sorted(set(readers) - set(ids))
    if unused:
        volume.warnings.append(
            f'{len(unused)} outlined nodules of 3 readers are not in the '
            'table and were left out'
        )
    return labels, annotations, ids


def _from_masks(
    path: Path, volume: Volume
) -> tuple[np.ndarray, list[Annotation], list[int | None]]:
    """Nodules from a label image on the scan's grid."""
    array, geometry = read_image(path)
    turned = canonical(Volume(array, geometry))
    if not turned.geometry.is_close(volume.geometry, tol_mm=1e-2):
        raise AnnotationError(
            f'{path}: its grid is not that of the scan; resample the mask to '
            'the scan.'
        )
    annotations: list[Annotation] = []
    ids: list[int | None] = []
    voxel = float(np.prod(volume.geometry.spacing))
    for label in np.unique(turned.array):
        if label <= 0:
            continue
        points = np.argwhere(turned.array == label)
        x, y, z = volume.geometry.to_world(points.mean(0)[None])[0]
        diameter = (6 * len(points) * voxel / np.pi) ** (1 / 3)
        annotations.append(
            Annotation((float(x), float(y), float(z)), float(diameter))
        )
        ids.append(int(label))
    return turned.array.astype(np.uint8), annotations, ids
