"""Scans to cases: restartable, one bad scan at a time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from tqdm import tqdm

from lungdet.errors import (
    AnnotationError,
    GeometryError,
    LungdetError,
)
from lungdet.geometry import reorient
from lungdet.io.case_store import (
    check_uid,
    read_case_file,
    rebuild_index,
    write_case,
)
from lungdet.io.image import load_volume, read_image
from lungdet.io.lidc_masks import MIN_READERS
from lungdet.io.metaimage import data_file
from lungdet.io.processes import processes
from lungdet.prepare.case import (
    LUNG_MARGIN_MM,
    NODULE_MARGIN_MM,
    prepare_case,
)
from lungdet.prepare.lung_mask import LungField, find_lungs
from lungdet.prepare.references import (
    References,
    WorldBox,
    of_boxes,
    of_label_image,
    of_outlines,
)
from lungdet.prepare.summary import Summary
from lungdet.structures import CASE_FORMAT, Annotation, CaseRecord, Volume

LUNG_LABELS = (3, 4)  # LUNA16: right and left; 5 is the trachea
PARALLEL_TOL = 1e-3  # of direction cosines, lung mask against scan
BLOCKS, BLOCK_BYTES = 16, 4096  # of a file, for its fingerprint


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
        caveats: What else a reader of the case must know.
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
    caveats: tuple[str, ...] = ()


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
        SeriesError: The file of such a case is damaged.
        OSError: ``out`` cannot be written to.
    """
    out = Path(out)
    _check_writable(out)
    _check_spacing(out, spacing_mm, {scan.uid for scan in scans})
    todo = [s for s in scans if not _is_done(s, out, spacing_mm)]
    if todo:  # a run that is killed leaves no index of cases it changed
        (out / 'index.json').unlink(missing_ok=True)
    failed: dict[str, str] = {}
    bar = tqdm(total=len(todo), desc='prepare', disable=not progress)

    def note(uid: str, reason: str | None) -> None:
        bar.update()
        if reason is not None:
            failed[uid] = reason

    if jobs > 1 and len(todo) > 1:
        broken = []
        with processes(jobs) as pool:
            waiting = {
                pool.submit(prepare_one, s, out, spacing_mm): s for s in todo
            }
            for done in as_completed(waiting):
                try:
                    note(waiting[done].uid, done.result())
                except BrokenProcessPool:
                    broken.append(waiting[done])
        for scan in broken:  # each alone: one killed process ends a pool
            note(scan.uid, _prepare_alone(scan, out, spacing_mm))
    else:
        for scan in todo:
            note(scan.uid, prepare_one(scan, out, spacing_mm))
    bar.close()
    index = rebuild_index(out)
    records = [CaseRecord.from_dict(case) for case in index['cases']]
    return Summary(
        records,
        failed,
        skipped=len(scans) - len(todo),
        caveats=_foreign(records, {scan.uid for scan in scans}, out),
    )


def _foreign(
    records: Sequence[CaseRecord], uids: Collection[str], out: Path
) -> list[str]:
    """A note if the folder holds cases of other scans."""
    others = [r.series_uid for r in records if r.series_uid not in uids]
    if not others:
        return []
    return [
        f'{len(others)} cases in {out} are not of these scans, such as '
        f'{others[0]}'
    ]


def _prepare_alone(scan: Scan, out: Path, spacing_mm: float) -> str | None:
    """``prepare_one`` in a process of its own, which may be killed."""
    with processes(1) as pool:
        try:
            return pool.submit(prepare_one, scan, out, spacing_mm).result()
        except BrokenProcessPool:
            return (
                'its process was killed, perhaps for want of memory; run '
                'again on a machine with more'
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
        case = read_case_file(path)
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
        case.get('format') == CASE_FORMAT
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
    volume.caveats += scan.caveats
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
    image = read_image(scan.lungs)
    labels, grid = reorient(image.array, image.geometry)
    tilt = grid.direction - volume.geometry.direction
    if np.abs(tilt).max() > PARALLEL_TOL:
        raise AnnotationError(
            f'{scan.lungs}: its axes are not parallel to those of the scan; '
            'resample the lung mask to the scan, or take it away.'
        )
    mask = np.isin(labels, LUNG_LABELS)
    if not mask.any():
        return find_lungs(volume)
    return LungField(mask, grid, 'given')
