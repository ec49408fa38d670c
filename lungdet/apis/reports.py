"""HTML reports of results and of tested runs, from their files.

Runs without torch and mmengine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lungdet.apis.inference_record import (
    RECORD,
    REMEDY,
    read_inference_record,
)
from lungdet.errors import ConfigError, SeriesError, counted
from lungdet.evaluation import (
    CaseOptions,
    Caveat,
    EvaluationReport,
    Submission,
    compare_reports,
    detection_points,
    evaluate_cases,
    evaluate_submission,
    run_caveats,
)
from lungdet.geometry import resample_nearest
from lungdet.io.case_store import CaseStore
from lungdet.io.image import load_volume, read_image
from lungdet.io.json_file import shape_checked, whole
from lungdet.io.luna16 import read_annotations, read_excluded
from lungdet.io.nifti import GRID_TOL_MM
from lungdet.io.reference_set import official_reference
from lungdet.io.results import RESULT, read_result
from lungdet.report.evaluation_files import StoredRun, read_run
from lungdet.report.html.cine import ScanImage
from lungdet.report.html.evaluation_report import evaluation_page
from lungdet.report.html.page import write_page
from lungdet.report.html.scan_report import ScanReference, scan_page
from lungdet.structures import SeriesResult, Volume

CPM_TOLERANCE = 1e-9


def write_scan_report(
    path: str | Path,
    result_path: str | Path,
    *,
    scan: str | Path | None = None,
    annotations: str | Path | None = None,
    excluded: str | Path | None = None,
    viewer: str | None = None,
    hu_offset: int | None = None,
) -> None:
    """Write the report of one scan's result.

    Masks are those of the label image beside the result.

    Args:
        path: Path of the HTML file.
        result_path: A ``result.json``, or its folder.
        scan: Image file or DICOM folder of the same scan; None for tables
            only.
        annotations: csv of nodules, in which a scan without nodules has no
            row; by default LUNA16's table, for its scans.
        excluded: csv of excluded findings.
        viewer: One of ``VIEWERS``, None for none.
        hu_offset: Added to values that were stored without their offset; by
            default what ``lungdet infer`` added, as its record beside the
            result says.

    Raises:
        FileNotFoundError: No such result or scan.
        SeriesError: Not a result, or not the same scan.
        AnnotationError: A table that cannot be read.
    """
    result_path = _result_file(Path(result_path))
    result = read_result(result_path)
    image = None
    if scan is not None:
        if hu_offset is None:
            hu_offset = stored_offset(result_path.parent)
        volume = scan_of_result(result, result_path, scan, hu_offset=hu_offset)
        result = replace(result, slices=volume.slices)
        image = scan_image(result, result_path, volume)
    page = scan_page(
        result,
        image,
        reference=_scan_reference(result.series_uid, annotations, excluded),
        viewer=viewer,
    )
    write_page(path, page)


def _result_file(path: Path) -> Path:
    """A result's file, of itself or of its folder."""
    if not path.is_dir():
        return path
    if (path / RESULT).exists():
        return path / RESULT
    scans = sorted(file.parent for file in path.glob(f'*/{RESULT}'))
    raise SeriesError(
        f'{path}: has no {RESULT}; '
        + (
            f'it is a folder of {counted(len(scans), "result")}, give each, '
            f'such as {scans[0]}.'
            if scans
            else 'give a folder that lungdet infer wrote for one scan.'
        )
    )


def stored_offset(folder: Path) -> int | None:
    """The HU offset that a result was computed with, from its record.

    Args:
        folder: Folder of the result.

    Returns:
        None if none was given, or without a record.

    Raises:
        SeriesError: The record is damaged, or of another version.
    """
    record = read_inference_record(folder)
    offset = None if record is None else record.settings.get('hu_offset')
    if offset is None:
        return None
    with shape_checked(str(folder / RECORD), REMEDY):
        return whole(offset)


def scan_of_result(
    result: SeriesResult,
    result_path: Path,
    scan: str | Path,
    *,
    hu_offset: int | None = None,
) -> Volume:
    """The scan of a result.

    Args:
        result: Result of the scan.
        result_path: Its file, for the message.
        scan: Image file or DICOM folder.
        hu_offset: Added to values that were stored without their offset.

    Raises:
        SeriesError: It cannot be read, or has another grid.
    """
    volume = load_volume(
        scan,
        series_uid=result.series_uid if Path(scan).is_dir() else None,
        hu_offset=hu_offset,
    )
    grid = volume.source_geometry or volume.geometry
    if not grid.is_close(result.scan_geometry):
        raise SeriesError(
            f'{scan}: {grid.size_xyz} voxels at {grid.origin.round(2)} mm, '
            f'the result is of a scan of {result.scan_geometry.size_xyz} at '
            f'{result.scan_geometry.origin.round(2)} mm; give the scan that '
            f'{result_path} was made from.'
        )
    return volume


def scan_image(
    result: SeriesResult, result_path: Path, volume: Volume
) -> ScanImage:
    """The voxels of a result's scan, with its detections' masks.

    Args:
        result: Result of the scan.
        result_path: Its file, beside which the masks are.
        volume: The scan.

    Raises:
        SeriesError: The masks have another grid.
    """
    labels = None
    for name in result.files.get('nifti', ()):
        labels = _labels(result_path.parent / name, volume)
    return ScanImage(volume.array, volume.geometry, labels)


def _labels(path: Path, volume: Volume) -> np.ndarray:
    masks = read_image(path)
    grid = volume.source_geometry or volume.geometry
    if not masks.geometry.is_close(grid, tol_mm=GRID_TOL_MM):
        raise SeriesError(
            f'{path}: the masks are not on the grid of the scan; export the '
            'result again.'
        )
    return resample_nearest(masks.array, grid, volume.geometry)


def _scan_reference(
    series_uid: str,
    annotations: str | Path | None,
    excluded: str | Path | None,
) -> ScanReference | None:
    """The reference of a scan from the tables; None if none are given."""
    if annotations is None and excluded is None:
        official = official_reference()
        if series_uid not in official.seriesuids:
            return None
        tables = official.annotations, official.excluded
        return ScanReference(
            'LUNA16', *(table.get(series_uid, []) for table in tables)
        )
    if annotations is None:
        raise ConfigError(
            f'--excluded {excluded}: exclusions are of a reference; name its '
            '--annotations too.'
        )
    exclusions = read_excluded(excluded) if excluded else {}
    return ScanReference(
        Path(annotations).name,
        read_annotations(annotations).get(series_uid, []),
        exclusions.get(series_uid, []),
    )


def write_run_report(
    path: str | Path,
    folders: Sequence[str | Path],
    *,
    cases: str | Path | None = None,
    strata: str | None = None,
    options: CaseOptions | None = None,
) -> None:
    """Write the report of tested runs, the first one compared with the others.

    Args:
        path: Path of the HTML file.
        folders: Outputs of ``tools/test.py --out``, runs on the same scans.
        cases: The prepared cases of the runs, for the reference and for
            pictures; None for LUNA16's reference, without pictures.
        strata: As of ``CaseOptions``; None for those of the run, or the
            diameter.
        options: How to score; read-out and cap are those of the run.

    Raises:
        FileNotFoundError: A folder is not of a tested run.
        SeriesError: A file of a run is damaged.
        ConfigError: Runs on different scans, or scans without a reference.
    """
    store = None if cases is None else CaseStore(cases)
    options = options or CaseOptions()
    reports = [
        _run_report(Path(folder), run, store, strata, options)
        for folder, run in zip(folders, _in_one_order(folders))
    ]
    first, *others = _named_apart(reports, folders)
    page = evaluation_page(
        [first, *others],
        compare_reports(first, others, options),
        store=store,
    )
    write_page(path, page)


def _in_one_order(folders: Sequence[str | Path]) -> list[StoredRun]:
    """The runs of folders, each with its scans in the order of the first one.

    Raises:
        ConfigError: A run on other scans.
    """
    runs = [read_run(folder) for folder in folders]
    scans = runs[0].scans
    for folder, run in zip(folders, runs):
        if {*run.scans} != {*scans}:
            raise ConfigError(
                f'{folder}: tested on other scans than {folders[0]}, so the '
                'two cannot be compared; write a report of each.'
            )
    return [
        replace(run, scans={uid: run.scans[uid] for uid in scans})
        for run in runs
    ]


def _run_report(
    folder: Path,
    run: StoredRun,
    store: CaseStore | None,
    strata: str | None,
    options: CaseOptions,
) -> EvaluationReport:
    options = replace(
        options,
        read_out=run.read_out,
        max_marks=run.max_marks,
        strata=strata or run.grouped_by or 'diameter',
    )
    if store is None:
        report = _official_report(folder, run, options)
    else:
        missing = [uid for uid in run.scans if uid not in store.records]
        if missing:
            raise ConfigError(
                f'{folder}: {len(missing)} tested scans are not among the '
                f'prepared cases, such as {missing[0]}; give the cases of '
                'the test.'
            )
        report = evaluate_cases(
            run.scans,
            store.records,
            options,
            official=official_reference(),
            num_listed=run.num_listed,
        )
    return replace(
        report, caveats=(*report.caveats, *_as_reported(run, report))
    )


def _official_report(
    folder: Path, run: StoredRun, options: CaseOptions
) -> EvaluationReport:
    official = official_reference()
    if unknown := [uid for uid in run.scans if uid not in official.seriesuids]:
        raise ConfigError(
            f'{folder}: {len(unknown)} tested scans are not of LUNA16, such '
            f'as {unknown[0]}; give their prepared cases with --cases.'
        )
    marks = {
        uid: detection_points(scan.result.detections)
        for uid, scan in run.scans.items()
    }
    reference = replace(official, seriesuids=tuple(run.scans))
    report = evaluate_submission(Submission('', marks), reference, options)
    return replace(
        report,
        num_listed=run.num_listed,
        caveats=(*report.caveats, *run_caveats(run.scans)),
    )


def _as_reported(run: StoredRun, report: EvaluationReport) -> list[Caveat]:
    """A caveat if the reference is not that of the test."""
    cpm = report.result.cpm
    same = cpm == run.cpm or (
        cpm is not None
        and run.cpm is not None
        and abs(cpm - run.cpm) <= CPM_TOLERANCE
    )
    if same:
        return []
    text = (
        f'the CPM is {cpm} by this reference, froc.json of the test has '
        f'{run.cpm}; it was scored against another reference'
    )
    return [Caveat('other-reference', 1, text)]


def _named_apart(
    reports: Sequence[EvaluationReport], folders: Sequence[str | Path]
) -> list[EvaluationReport]:
    """The reports, named by the shortest distinct ends of their paths."""
    paths = [Path(folder).resolve() for folder in folders]
    length = 1
    while len({path.parts[-length:] for path in paths}) < len({*paths}):
        length += 1
    return [
        replace(
            report,
            submission=replace(
                report.submission, name='/'.join(path.parts[-length:])
            ),
        )
        for report, path in zip(reports, paths)
    ]
