"""Details of a report: tables per scan, and pictures of errors.

Runs without torch and mmengine.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from matplotlib.figure import Figure

from lungdet.evaluation import (
    EvaluationReport,
    annotations_by_scan,
    false_positive_lines,
    nodule_lines,
    scan_lines,
)
from lungdet.evaluation.details import (
    FALSE_POSITIVE_COLUMNS,
    NODULE_COLUMNS,
    Line,
)
from lungdet.io.atomic import atomic_path
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import write_table
from lungdet.report.calibration_figure import calibration_figure
from lungdet.report.figures import picture_sheet
from lungdet.report.pictures import Picture, case_picture

NUM_PICTURES = 12
COLUMNS = {
    'nodules': NODULE_COLUMNS,
    'false_positives': FALSE_POSITIVE_COLUMNS,
}
TITLES = {
    'nodules': 'nodules detected last, or not at all',
    'false_positives': 'false positives of the highest scores',
}


def write_details(
    report: EvaluationReport, folder: str | Path, *, store: CaseStore | None
) -> list[Path]:
    """Write scans.csv, nodules.csv, false_positives.csv and figures.

    Nodules are sorted hardest first, false positives by descending score. The
    calibration curve is drawn if scores are probabilities; nodules and false
    positives are drawn where their scan is among the prepared cases.

    Args:
        report: As returned by ``evaluate_submission``.
        folder: Created if needed.
        store: Prepared cases, None for no pictures.

    Pictures of an earlier call that are not drawn anew are removed.

    Returns:
        The written files.
    """
    folder, result = Path(folder), report.result
    annotations = annotations_by_scan(report.reference.annotations)
    tables = {
        'scans': scan_lines(result),
        'nodules': nodule_lines(result, annotations),
        'false_positives': false_positive_lines(
            result, report.submission.marks
        ),
    }
    for name, lines in tables.items():
        columns = COLUMNS.get(name, ())
        write_table(folder / f'{name}.csv', lines, columns)
    figures: dict[str, Figure] = {}
    if report.calibration is not None:
        figures['calibration'] = calibration_figure(
            {report.submission.name: report.calibration}
        )
    if store is not None:
        for name, title in TITLES.items():
            figures[name] = _sheet(tables[name], store, title)
    for name in ('calibration', *TITLES):
        if name not in figures:  # of another submission
            (folder / f'{name}.png').unlink(missing_ok=True)
    for name, figure in figures.items():
        with atomic_path(folder / f'{name}.png') as aside:
            figure.savefig(aside, dpi=110)
    return [
        *(folder / f'{name}.csv' for name in tables),
        *(folder / f'{name}.png' for name in figures),
    ]


def _sheet(lines: Sequence[Line], store: CaseStore, title: str) -> Figure:
    """The first lines whose points are in prepared cases."""
    prepared = (line for line in lines if line['seriesuid'] in store.records)
    pictures = (_picture(line, store) for line in prepared)
    shown = list(islice((p for p in pictures if p), NUM_PICTURES))
    return picture_sheet(
        shown, f'{title}, in {len(store.records)} prepared scans'
    )


def _picture(line: Line, store: CaseStore) -> Picture | None:
    """Voxels around the point of a line; None outside the prepared region."""
    x, y, z = (float(line[f'coord{axis}']) for axis in 'XYZ')
    diameter = line.get('diameter_mm')
    return case_picture(
        store,
        str(line['seriesuid']),
        (x, y, z),
        _caption(line),
        diameter_mm=None if diameter is None else float(diameter),
    )


def _caption(line: Line) -> str:
    texts = [f'...{str(line["seriesuid"])[-8:]}']
    if 'diameter_mm' in line:
        texts.append(f'{line["diameter_mm"]:.1f} mm')
    score = line['probability']
    texts.append('no mark' if score == '' else f'score {score:.3f}')
    return '\n'.join(texts)
