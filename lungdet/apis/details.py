"""A submission scan by scan: tables, and pictures of what went wrong.

Runs without torch and mmengine.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from lungdet.apis.evaluate import Evaluation, arrays_of
from lungdet.evaluation import false_positive_rows, nodule_rows, scan_rows
from lungdet.evaluation.listing import Row
from lungdet.geometry import box_slices
from lungdet.io.atomic import atomic_path
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import write_table
from lungdet.report.calibration_figure import calibration_figure
from lungdet.report.figures import Place, place_sheet

NUM_PICTURES = 12
HALF_VOXELS = 40  # read around a place; pictures show 32 mm to each side


def write_details(
    evaluation: Evaluation, folder: str | Path, *, store: CaseStore | None
) -> list[Path]:
    """Write scans.csv, nodules.csv, false_positives.csv and figures.

    Nodules come hardest first, false positives highest score first. The
    calibration curve is drawn if scores are probabilities; places are drawn
    where the scan is among the prepared cases.

    Args:
        evaluation: Of ``evaluate_submission``.
        folder: Made if it is not there.
        store: Prepared cases, None for no pictures.

    Returns:
        What was written.
    """
    folder = Path(folder)
    result, marks = evaluation.result, evaluation.submission.marks
    nodules = nodule_rows(result, arrays_of(evaluation.reference.annotations))
    false = false_positive_rows(result, marks)
    written = []
    for name, rows in (
        ('scans', scan_rows(result)),
        ('nodules', nodules),
        ('false_positives', false),
    ):
        written.append(folder / f'{name}.csv')
        write_table(written[-1], rows)
    if evaluation.calibration is not None:
        written.append(folder / 'calibration.png')
        _draw_calibration(written[-1], evaluation)
    for name, rows in (('nodules', nodules), ('false_positives', false)):
        if store is not None:
            written.append(folder / f'{name}.png')
            _draw_places(written[-1], rows, store, name)
    return written


def _draw_calibration(path: Path, evaluation: Evaluation) -> None:
    assert evaluation.calibration is not None
    figure = calibration_figure(
        {evaluation.submission.name: evaluation.calibration}
    )
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=150)


def _draw_places(
    path: Path, rows: Sequence[Row], store: CaseStore, name: str
) -> None:
    """Draw the first rows whose places are in prepared cases."""
    titles = {
        'nodules': 'nodules found last, or not at all',
        'false_positives': 'false positives of the highest scores',
    }
    known = (row for row in rows if row['seriesuid'] in store.records)
    places = (_place(row, store) for row in known)
    drawn = list(islice((p for p in places if p), NUM_PICTURES))
    title = f'{titles[name]}, in {len(store.records)} prepared scans'
    with atomic_path(path) as aside:
        place_sheet(drawn, title).savefig(aside, dpi=110)


def _place(row: Row, store: CaseStore) -> Place | None:
    """Voxels around a row's place; None outside the prepared region."""
    uid = str(row['seriesuid'])
    x, y, z = (float(row[f'coord{axis}']) for axis in 'XYZ')
    grid = store.records[uid].geometry
    (index,) = np.rint(grid.to_index(np.array([[x, y, z]]))).astype(int)
    if (index < 0).any() or (index >= grid.shape).any():
        return None
    low = np.maximum(index - HALF_VOXELS, 0)
    high = np.minimum(index + HALF_VOXELS, grid.shape)
    region = box_slices(np.concatenate([low, high]))
    return Place(
        array=store.read(uid, 'image', region),
        geometry=grid.crop(low, high - low),
        center_mm=(x, y, z),
        diameter_mm=float(row['diameter_mm'])
        if 'diameter_mm' in row
        else None,
        caption=_caption(row),
    )


def _caption(row: Row) -> str:
    lines = [f'...{str(row["seriesuid"])[-8:]}']
    if 'diameter_mm' in row:
        lines.append(f'{row["diameter_mm"]:.1f} mm')
    found = row['probability'] != ''
    lines.append(f'score {row["probability"]:.3f}' if found else 'no mark')
    return '\n'.join(lines)
