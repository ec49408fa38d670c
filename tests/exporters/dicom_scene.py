"""A DICOM series, detections on it, and readers of the exported objects."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import generate_uid

from lungdet.geometry import Geometry
from lungdet.io.image import load_volume
from lungdet.prepare import locate
from lungdet.structures import Detection, ModelInfo, RunInfo, SeriesResult
from tests.dicom_series import STEP, write_slice

STUDY, FRAME = generate_uid(), generate_uid()
TURN = 0.1  # radians about z, of an oblique series
MODEL = ModelInfo('Net', '3 epochs', 'a.pth', 'a' * 64, 'b' * 64, (0, 1), 1.0)
RUN = RunInfo('2026-01-02T03:04:05+00:00', '0.1', 'cpu', 'fp32', {})
COMPLETE = {
    'PatientID': 'P1',
    'PatientName': 'Doe^Jane',
    'PatientBirthDate': '19500101',
    'PatientSex': 'F',
    'StudyID': '7',
    'StudyDate': '20250101',
    'StudyTime': '101010',
    'AccessionNumber': 'A1',
    'StudyInstanceUID': STUDY,
    'FrameOfReferenceUID': FRAME,
    'SeriesNumber': 3,
}


def write_series(
    folder: Path, *, kind: str = 'plain', tags: dict[str, Any] = COMPLETE
) -> SeriesResult:
    """Write 26 slices, and return two overlapping detections and a point.

    Args:
        folder: For the series.
        kind: ``plain``, ``tilted`` (gantry), ``oblique`` (turned about the
            normal), ``slanted`` (the normal is turned), ``upside down``
            (the normal points to the feet) or ``uneven`` (a slice missing).
        tags: Of every slice.
    """
    folder.mkdir()
    series = generate_uid()
    cos, sin = np.cos(TURN), np.sin(TURN)

    def edit(k: int) -> Any:
        def apply(data: Any) -> None:
            for name, value in tags.items():
                setattr(data, name, value)
            position = [*map(float, data.ImagePositionPatient)]
            if kind == 'tilted':
                position[1] += 0.2 * STEP * k  # 11 degrees
            if kind == 'oblique':
                data.ImageOrientationPatient = [cos, sin, 0, -sin, cos, 0]
            if kind == 'slanted':
                data.ImageOrientationPatient = [1, 0, 0, 0, cos, sin]
                normal = np.array([0, -sin, cos])
                position = np.round([-10, 5, -100] + STEP * k * normal, 6)
                position = position.tolist()
            if kind == 'upside down':
                data.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
            data.ImagePositionPatient = position

        return apply

    for k in range(26):
        if kind == 'uneven' and k == 10:
            continue
        hu = np.full((16, 24), -800)
        write_slice(folder, k, hu, edit=edit(k), series=series)
    volume = load_volume(folder)
    grid = volume.geometry
    case = Geometry.from_parts(
        tuple(np.ceil(np.array(grid.shape) * grid.spacing).astype(int)),
        spacing_zyx=(1, 1, 1),
        origin_xyz=grid.origin,
        direction=grid.direction,
    )
    return result_of(volume, case)


def result_of(volume: Any, case: Geometry) -> SeriesResult:
    rng = np.random.default_rng(0)
    detections = []
    for score, box in (
        (0.9, (8, 12, 20, 20, 30, 44)),
        (0.8, (14, 24, 36, 27, 40, 60)),
    ):
        mask = rng.random(np.subtract(box[3:], box[:3])) > 0.2
        center = case.box_center_world(np.array(box))[0]
        x, y, z = center.tolist()
        size = np.subtract(box[3:], box[:3]).astype(float)
        detections.append(
            Detection(
                (x, y, z),
                score,
                size_mm=tuple(size.tolist()),
                mask_box=box,
                mask=mask,
                volume_mm3=float(mask.sum()),
            )
        )
    x, y, z = case.to_world([[40.0, 30.0, 30.0]])[0].tolist()
    detections.append(Detection((x, y, z), 0.3, size_mm=(6.0, 5.0, 4.0)))
    result = SeriesResult(
        volume.series_uid,
        detections,
        case,
        volume.source_geometry or volume.geometry,
        model=MODEL,
        run=RUN,
        slices=volume.slices,
    )
    return locate(result, None)


def negative(result: SeriesResult) -> SeriesResult:
    return replace(result, detections=[])


def literal_masks(result: SeriesResult, uid: str) -> dict[int, np.ndarray]:
    """Masks on a slice: every pixel's world point, looked up in each mask."""
    import pydicom

    (source,) = [s for s in result.slices if s.sop_instance_uid == uid]
    data = pydicom.dcmread(source.path)
    cosines = np.array(data.ImageOrientationPatient, float)
    along, down = cosines[:3], cosines[3:]
    step = [*map(float, data.PixelSpacing)]
    rows, columns = np.indices((data.Rows, data.Columns)).reshape(2, -1)
    world = (
        np.array(data.ImagePositionPatient, float)
        + columns[:, None] * step[1] * along
        + rows[:, None] * step[0] * down
    )
    index = np.floor(result.geometry.to_index(world) + 0.5).astype(int)
    masks = {}
    for number, detection in result.numbered():
        if detection.mask is None:
            continue
        inner = index - detection.mask_box[:3]
        inside = ((inner >= 0) & (inner < detection.mask.shape)).all(1)
        hit = np.zeros(len(index), bool)
        hit[inside] = detection.mask[tuple(inner[inside].T)]
        masks[number] = hit.reshape(data.Rows, data.Columns)
    return masks


def assert_no_errors(path: Path) -> None:
    """Run David Clunie's dciodvfy on a file, if it is installed."""
    if shutil.which('dciodvfy') is None:
        pytest.skip('no dciodvfy; apt-get install dicom3tools')
    done = subprocess.run(
        ['dciodvfy', '-new', str(path)], capture_output=True, text=True
    )
    lines = (done.stdout + done.stderr).splitlines()
    errors = [line for line in lines if line.startswith('Error')]
    assert not errors, errors
