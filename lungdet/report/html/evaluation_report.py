"""The report of tested runs: curves, tables, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice

from matplotlib.figure import Figure

from lungdet.evaluation import (
    Difference,
    EvaluationReport,
    annotations_by_scan,
    false_positive_lines,
    nodule_lines,
    rate_name,
)
from lungdet.evaluation.details import Line
from lungdet.io.case_store import CaseStore
from lungdet.report.calibration_figure import calibration_figure
from lungdet.report.froc_figure import froc_figure
from lungdet.report.html.page import num, render_page
from lungdet.report.html.view import View, data_uri, views_of
from lungdet.report.pictures import case_picture

MAX_ERRORS = 12  # that are shown of each kind and run


@dataclass(frozen=True)
class RunErrors:
    """The worst errors of a run.

    Attributes:
        name: Name of the run.
        misses: Nodules that are detected last, or not at all.
        false_positives: False positives with the highest scores.
    """

    name: str
    misses: Sequence[ErrorEntry]
    false_positives: Sequence[ErrorEntry]


@dataclass(frozen=True)
class ErrorEntry:
    """One nodule or false positive.

    Attributes:
        series_uid: Series uid of its scan.
        texts: Size, score and position.
        views: Its three planes, none without the prepared case.
    """

    series_uid: str
    texts: Sequence[str]
    views: Sequence[View]


@dataclass(frozen=True)
class TableRow:
    """Sensitivities of a run or stratum.

    Attributes:
        name: Name of the run or the stratum.
        values: For each rate, then the CPM: the value, and the lines below it.
        scans: Scans it rests on.
        nodules: Nodules it rests on.
    """

    name: str
    values: Sequence[Sequence[str]]
    scans: int
    nodules: int


def evaluation_page(
    reports: Sequence[EvaluationReport],
    differences: Sequence[Difference | None] = (),
    *,
    store: CaseStore | None = None,
) -> str:
    """Reports on the same scans as one self-contained HTML file.

    Args:
        reports: One for each run, the first one compared with the others.
        differences: The first minus each of the others.
        store: The prepared cases, None for no pictures.
    """
    calibrated = {
        r.submission.name: r.calibration
        for r in reports
        if r.calibration is not None
    }
    return render_page(
        'evaluation.html',
        reports=reports,
        rates=[rate_name(rate) for rate in reports[0].result.rates],
        runs=[_row(r.submission.name, r) for r in reports],
        strata=[_strata(report) for report in reports],
        differences=[
            _difference(reports[0], other, difference)
            for other, difference in zip(reports[1:], differences)
            if difference is not None
        ],
        curve=_svg(froc_figure(reports)),
        calibration=calibrated and _svg(calibration_figure(calibrated)),
        errors=[_errors(report, store) for report in reports],
        with_pictures=store is not None,
    )


def _row(name: str, part: EvaluationReport) -> TableRow:
    """The row of a run or of one of its strata."""
    result, intervals = part.result, part.bootstrap
    missing: list[None] = [None] * len(result.rates)
    values = [*(result.sensitivities or missing), result.cpm]
    texts = [[num(value, 3)] for value in values]
    if intervals is not None:
        bounds = (*intervals.sensitivities, intervals.cpm)
        for cell, (low, high) in zip(texts, bounds):
            cell.append(f'{low:.3f}–{high:.3f}')
    counts = result.counts
    return TableRow(name, texts, counts['scans'], counts['nodules'])


def _strata(report: EvaluationReport) -> list[TableRow]:
    return [
        _row(
            label,
            replace(
                report, result=stratum.result, bootstrap=stratum.bootstrap
            ),
        )
        for label, stratum in report.strata.items()
    ]


def _difference(
    first: EvaluationReport, other: EvaluationReport, difference: Difference
) -> TableRow:
    values = [*difference.sensitivities, difference.cpm]
    intervals = [*difference.intervals, difference.cpm_interval]
    texts = [
        (f'{value:+.3f}', f'{low:+.3f} to {high:+.3f}', f'p {p:.3f}')
        for value, (low, high), p in zip(
            values, intervals, [*difference.p, difference.cpm_p]
        )
    ]
    counts = first.result.counts
    name = f'minus {other.submission.name}'
    return TableRow(name, texts, counts['scans'], counts['nodules'])


def _errors(report: EvaluationReport, store: CaseStore | None) -> RunErrors:
    result = report.result
    nodules = nodule_lines(
        result, annotations_by_scan(report.reference.annotations)
    )
    false = false_positive_lines(
        result, report.submission.marks, limit=MAX_ERRORS
    )
    return RunErrors(
        report.submission.name,
        [_entry(line, store) for line in islice(nodules, MAX_ERRORS)],
        [_entry(line, store) for line in false],
    )


def _entry(line: Line, store: CaseStore | None) -> ErrorEntry:
    uid, score = str(line['seriesuid']), line['probability']
    x, y, z = (float(line[f'coord{axis}']) for axis in 'XYZ')
    texts = ['no mark' if score == '' else f'score {float(score):.3f}']
    diameter = None
    if 'diameter_mm' in line:
        diameter = float(line['diameter_mm'])
        texts.insert(0, f'{diameter:.1f} mm')
    if line.get('fp_per_scan', '') != '':
        rate = float(line['fp_per_scan'])
        texts.append(f'detected at {rate:.2f} false positives per scan')
    texts.append(f'({x:.1f}, {y:.1f}, {z:.1f}) mm')
    views: Sequence[View] = ()
    if store is not None and uid in store.records:
        picture = case_picture(store, uid, (x, y, z), '', diameter_mm=diameter)
        views = () if picture is None else views_of(picture)
    return ErrorEntry(uid, texts, views)


def _svg(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, format='svg', metadata={'Date': None})
    return data_uri(file.getvalue(), 'image/svg+xml')
