"""Scans on disk, and runs on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from lungdet.geometry import Geometry
from lungdet.io.image import write_image
from tests.dicom_series import labelled, write_series

ONLY_JSON = InferOptions(formats=('json', 'luna16'))
NAME, PATIENT, TEXT = 'DOE^JOHN', 'MRN-771', 'CHEST OF MR DOE'
# lung with one bright block, as an image and as slices of a series
GRID = Geometry.from_parts(
    (30, 60, 70), spacing_zyx=(2.0, 1.0, 1.0), origin_xyz=(0, 0, 0)
)
LUNG = np.full(GRID.shape, -850, np.int16)
BLOCK = LUNG.copy()
BLOCK[8:14, 20:32, 20:30] = 60
SLICES = np.full((26, 16, 24), -850.0)
SLICES[10:14, 6:10, 8:14] = 60


def write_scans(folder: Path, names: Sequence[str]) -> None:
    """Scans with one bright block each, in different places."""
    for k, name in enumerate(names):
        array = LUNG.copy()
        array[8 + k : 14 + k, 20:32, 20:30] = 60
        write_image(folder / f'{name}.mha', array, GRID)


def run_on(
    inferencer: NoduleInferencer,
    folder: Path,
    out: Path,
    options: InferOptions = ONLY_JSON,
    **given: Any,
) -> ScanRun:
    scans, _ = find_scans([folder], out)
    run = ScanRun(inferencer, scans, out, options, **given)
    run.run()
    return run


def states(run: ScanRun) -> dict[str, str]:
    return {outcome.series_uid: outcome.state for outcome in run.outcomes}


def write_patient(folder: Path, uid: str, **tags: object) -> None:
    """A series of an examination of its own, or of the one in ``tags``."""
    folder.mkdir(parents=True)
    person = {'PatientName': NAME, 'PatientID': PATIENT}
    texts = {'SeriesDescription': TEXT, 'StudyInstanceUID': uid}
    edit = labelled(**{**person, **texts, **tags})
    write_series(folder, SLICES, series=uid, edit=edit)
