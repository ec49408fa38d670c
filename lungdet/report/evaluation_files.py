"""The files of an evaluation: of a submission, and of a tested run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungdet.errors import ConfigError, SeriesError
from lungdet.evaluation import (
    MAX_MARKS,
    Difference,
    EvaluationReport,
    ScanMasks,
    ScoredScan,
    compared_dict,
)
from lungdet.io.atomic import atomic_path, write_text
from lungdet.io.json_file import (
    flag,
    items,
    keyed,
    metric,
    number,
    numbers,
    read_array,
    read_object,
    shape_checked,
    text,
    whole,
)
from lungdet.io.luna16 import write_submission
from lungdet.io.results import result_from_dict, result_to_dict
from lungdet.structures import SeriesResult

REMEDY = 'test the checkpoint again.'
FIGURE_SUFFIXES = ('.png', '.svg', '.pdf')


def write_run(
    out: str | Path, report: EvaluationReport, scans: Mapping[str, ScoredScan]
) -> None:
    """Write the files of a tested run.

    These are submission.csv, detections.json, froc.json, table.txt and
    froc.png.

    Args:
        out: Folder, created if needed.
        report: Report of ``scans``.
        scans: Series uid -> tested scan.
    """
    out = Path(out)
    results = [scan.result for scan in scans.values()]
    write_submission(out / 'submission.csv', results)
    detections = [result_to_dict(result) for result in results]
    write_text(out / 'detections.json', json.dumps(detections))
    write_report(out / 'froc.json', [report])
    write_text(out / 'table.txt', report.text() + '\n')
    write_figure(out / 'froc.png', [report], dpi=150)


def write_report(
    path: str | Path,
    reports: Sequence[EvaluationReport],
    differences: Sequence[Difference | None] = (),
) -> None:
    """Write the first report as JSON, with the others it was compared with.

    Args:
        path: Path of the file.
        reports: One or more.
        differences: The first minus each of the others.
    """
    content = compared_dict(reports, differences)
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_figure(
    path: str | Path, reports: Sequence[EvaluationReport], *, dpi: int = 200
) -> None:
    """Write the curves of all reports with their bands in one figure.

    Raises:
        ConfigError: The suffix is not png, svg or pdf.
    """
    from lungdet.report.froc_figure import froc_figure

    check_figure(path)
    with atomic_path(path) as aside:
        froc_figure(reports).savefig(aside, dpi=dpi)


def check_figure(path: str | Path) -> None:
    """Refuse a figure of an unknown type before anything is scored.

    Raises:
        ConfigError: Its suffix is not png, svg or pdf.
    """
    if Path(path).suffix not in FIGURE_SUFFIXES:
        raise ConfigError(
            f'{path}: figures are written as {", ".join(FIGURE_SUFFIXES)}; '
            'choose one of these suffixes.'
        )


def write_scan(folder: str | Path, scan: ScoredScan) -> None:
    """Write a tested scan, so that a stopped test can be resumed."""
    content = {
        'result': result_to_dict(scan.result),
        'masks': scan.masks.to_dict(),
        'losses': dict(scan.losses),
    }
    write_text(_scan_file(folder, scan.result.series_uid), json.dumps(content))


def read_scan(folder: str | Path, series_uid: str) -> ScoredScan:
    """A scan that ``write_scan`` wrote.

    Raises:
        FileNotFoundError: The scan was not tested yet.
        SeriesError: Written by another version, or damaged.
    """
    path = _scan_file(folder, series_uid)
    remedy = 'Remove it, and test again.'
    content = read_object(path, remedy)
    with shape_checked(str(path), remedy):
        return ScoredScan(
            # an older version wrote no 'result'; its schema is refused
            result_from_dict(content.get('result', content), str(path)),
            _masks_of(keyed(content['masks'])),
            {k: float(metric(v)) for k, v in keyed(content['losses']).items()},
        )


def _masks_of(values: dict[str, Any]) -> ScanMasks:
    """Masks as ``ScanMasks.to_dict`` gives them, each value of its kind."""
    scores = [values['scan']]
    for nodule in map(keyed, items(values['nodules'])):
        whole(nodule['nodule'])
        flag(nodule['detected'])
        if nodule['num_readers'] is not None:
            whole(nodule['num_readers'])
        numbers([nodule['dice'], nodule['iou']], 2)
        scores += [keyed(nodule['box']), nodule['matched']]
    for score in scores:
        if score is not None:
            numbers([score['dice'], score['iou']], 2)
            lengths = [score['surface_mm'], score['surface95_mm']]
            numbers([0 if mm is None else mm for mm in lengths], 2)
    return ScanMasks.from_dict(values)


@dataclass(frozen=True)
class StoredRun:
    """A tested run, read from its folder.

    Attributes:
        scans: Series uid -> tested scan, in the order of the run.
        num_listed: Scans that were listed for the test.
        read_out: How its curve was read.
        max_marks: Marks that were kept of each scan; None for all.
        grouped_by: Name of its strata, None without strata.
        cpm: The CPM as it was reported.
    """

    scans: Mapping[str, ScoredScan]
    num_listed: int
    read_out: str
    max_marks: int | None
    grouped_by: str | None
    cpm: float | None


def read_run(folder: str | Path) -> StoredRun:
    """The run that ``write_run`` wrote.

    The agreement of masks with the reference, and the losses, come from the
    files of the scans, if they exist.

    Args:
        folder: With froc.json and detections.json.

    Raises:
        FileNotFoundError: One of them is missing.
        SeriesError: Written by another version, or damaged.
    """
    folder = Path(folder)
    froc = read_object(folder / 'froc.json', REMEDY.capitalize())
    scans = {}
    for result in read_detections(folder):
        uid = result.series_uid
        stored = _scan_file(folder, uid).is_file()
        scans[uid] = read_scan(folder, uid) if stored else ScoredScan(result)
    with shape_checked(str(folder / 'froc.json'), REMEDY):
        return StoredRun(
            scans,
            whole(froc['num_listed']),
            text(froc['read_out']),
            _cap(froc.get('max_marks', MAX_MARKS)),
            froc['grouped_by'] and text(froc['grouped_by']),
            None if froc['cpm'] is None else number(froc['cpm']),
        )


def _cap(value: Any) -> int | None:
    return None if value is None else whole(value)


def read_detections(folder: str | Path) -> list[SeriesResult]:
    """The results of a tested run, without masks.

    Args:
        folder: With detections.json.

    Raises:
        FileNotFoundError: It is missing.
        SeriesError: Written by another version, or damaged.
    """
    path = Path(folder) / 'detections.json'
    values = read_array(path, REMEDY.capitalize())
    with shape_checked(str(path), REMEDY):
        results = [result_from_dict(keyed(one), str(path)) for one in values]
    uids = [result.series_uid for result in results]
    if len({*uids}) < len(uids):
        raise SeriesError(
            f'{path}: lists a series twice. {REMEDY.capitalize()}'
        )
    return results


def listed_scans(
    tested: Mapping[str, ScoredScan],
    seriesuids: Sequence[str],
    folder: str | Path | None,
) -> dict[str, ScoredScan]:
    """All listed scans in order; those of an earlier run are read.

    Args:
        tested: Scans of this run.
        seriesuids: The listed ones.
        folder: Folder of an earlier run, None for none.

    Raises:
        ConfigError: A listed scan is missing, or another one was tested.
        SeriesError: As ``read_scan``.
    """
    scans = dict(tested)
    if folder is not None:
        for uid in seriesuids:
            if uid not in scans and _scan_file(folder, uid).is_file():
                scans[uid] = read_scan(folder, uid)
    missing = sorted(set(seriesuids) - set(scans))
    if missing or set(scans) - set(seriesuids):
        raise ConfigError(
            f'evaluation: {len(scans)} scans were tested, {len(seriesuids)} '
            f'are listed; missing: {missing[:3]}. Run the test again, it '
            'continues where it stopped.'
        )
    return {uid: scans[uid] for uid in seriesuids}


def _scan_file(folder: str | Path, series_uid: str) -> Path:
    return Path(folder) / 'scans' / f'{series_uid}.json'
