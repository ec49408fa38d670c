"""A real scan in every form in which it may be stored."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from lungdet.evaluation import Selection
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, write_image
from lungdet.io.results import read_result
from lungdet.structures import SeriesResult, Volume
from tests.engine.conftest import tiny_config, tiny_store, trained

__all__ = ['tiny_config', 'tiny_store', 'trained']
UID = '1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192'
SHIPPED_UID = (  # LIDC-IDRI-0181, five nodules
    '1.3.6.1.4.1.14519.5.2.1.6279.6001.243094273518213382155770295147'
)
SAME_MM = 0.5
# Of a scan resampled to an oblique grid: interpolation blurs over a voxel, so
# a border may move by half a slice of 2.5 mm, and boxes have other axes.
RESAMPLED_MM = 1.5
SAME_NODULE_MM = 4.0  # closer detections are merged as one nodule
SURE_SCORE = 0.9  # of marks that resampling must keep
TILT = np.deg2rad(10)
ANGLE = np.deg2rad(12)
TURN = np.array(
    [
        [np.cos(ANGLE), -np.sin(ANGLE), 0, 0],
        [np.sin(ANGLE), np.cos(ANGLE), 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]
)


def write_marking_weights(trained: Path, path: Path) -> None:
    """Weights that mark something everywhere, in large windows."""
    checkpoint = read_checkpoint(trained)
    config = checkpoint['meta']['model']['test_cfg']
    config['rpn'] |= {'score_thr': 0.0, 'max_num': 4}
    config |= {'window': [96, 96, 96]}
    write_checkpoint(path, checkpoint)


def flipped(volume: Volume) -> tuple[np.ndarray, Geometry]:
    """The same voxels with every axis stored backwards."""
    grid = volume.geometry
    flip = np.diag([-1.0, -1.0, -1.0, 1.0])  # of each index axis
    flip[:3, 3] = np.array(grid.shape) - 1
    backwards = np.ascontiguousarray(volume.array[::-1, ::-1, ::-1])
    return backwards, Geometry(grid.shape, grid.affine @ flip)


def write_tilted(scan: Path, path: Path) -> None:
    """Resample a scan to a grid tilted about x and y that holds all of it."""
    image = sitk.ReadImage(str(scan))
    tilt = sitk.Euler3DTransform()
    tilt.SetRotation(TILT, TILT, 0)
    turn = np.array(tilt.GetMatrix()).reshape(3, 3)
    corners = np.array(
        [
            image.TransformIndexToPhysicalPoint(corner)
            for corner in product(*((0, n - 1) for n in image.GetSize()))
        ]
    )
    along = corners @ turn  # coordinates along the new axes
    spacing = np.array(image.GetSpacing())
    size = np.ceil(np.ptp(along, axis=0) / spacing).astype(int) + 1
    tilted = sitk.Resample(
        image,
        size.tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        (turn @ along.min(0)).tolist(),
        spacing.tolist(),
        turn.ravel().tolist(),
        -1024,
        sitk.sitkInt16,
    )
    sitk.WriteImage(tilted, str(path), useCompression=True)


def write_forms(dicom: Path, folder: Path) -> None:
    """The scan again: flipped, oblique, and in three other formats."""
    folder.mkdir()
    volume = load_volume(dicom)
    array, grid = volume.array, volume.geometry
    for name in ('plain.mhd', 'nifti.nii.gz', 'nrrd.nrrd'):
        write_image(folder / name, array, grid)
    write_image(folder / 'flipped.mha', *flipped(volume))
    turned = Geometry(grid.shape, TURN @ grid.affine)
    write_image(folder / 'oblique.mha', array, turned)
    with ZipFile(folder / 'zipped.zip', 'w') as archive:
        for path in sorted(dicom.glob('*.dcm')):
            archive.write(path, f'a/{path.name}')


@pytest.mark.slow
def test_the_marks_of_a_scan_do_not_depend_on_its_form(
    trained: Path, test_data: Path, tmp_path: Path
) -> None:
    dicom = test_data / 'luna16-mini' / 'subset1-dicom' / UID
    write_forms(dicom, tmp_path / 'in')
    write_marking_weights(trained, tmp_path / 'marking.pth')
    inferencer = NoduleInferencer(
        tmp_path / 'marking.pth',
        device='cpu',
        precision='fp32',
        selection=Selection(None, None, None),
    )

    results = infer(inferencer, tmp_path / 'in', tmp_path / 'out')

    marks = {uid: centers(result) for uid, result in results.items()}
    expected = marks.pop(UID)
    assert len(expected) > 10 and len(marks) == 5
    assert all(len(there) == len(expected) for there in marks.values())
    marks['oblique'] = marks['oblique'] @ TURN[:3, :3]
    gaps = {name: farthest(expected, there) for name, there in marks.items()}
    assert all(gap <= SAME_MM for gap in gaps.values()), gaps


@pytest.fixture(scope='module')
def shipped_results(
    test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, SeriesResult]:
    """What the shipped detector finds in a scan, flipped and tilted too."""
    folder = tmp_path_factory.mktemp('forms')
    scans = folder / 'in'
    scan = test_data / 'luna16-mini' / 'subset1' / f'{SHIPPED_UID}.mhd'
    volume = load_volume(scan)
    write_image(scans / 'plain.mha', volume.array, volume.geometry)
    for name in ('nifti.nii.gz', 'nrrd.nrrd'):
        write_image(scans / name, *flipped(volume))
    write_tilted(scan, scans / 'tilted.mha')
    inferencer = NoduleInferencer(device='cpu', precision='fp32')
    return infer(inferencer, scans, folder / 'out')


@pytest.mark.slow
def test_the_shipped_detector_marks_a_flipped_scan_alike(
    shipped_results: dict[str, SeriesResult],
) -> None:
    expected = centers(shipped_results['plain'])
    assert len(expected) >= 5
    for name in ('nifti', 'nrrd'):
        marks = centers(shipped_results[name])
        assert len(marks) == len(expected)
        assert farthest(expected, marks) <= SAME_MM


@pytest.mark.slow
def test_the_shipped_detector_finds_the_same_in_a_tilted_scan(
    shipped_results: dict[str, SeriesResult],
) -> None:
    """What it is sure of in one grid, it marks in the other too."""
    plain, tilted = shipped_results['plain'], shipped_results['tilted']
    assert len(sure(plain)) >= 5 and len(sure(tilted)) >= 5
    for one, other in ((plain, tilted), (tilted, plain)):
        gaps = sorted(nearest(sure(one), centers(other)))
        assert max(gaps[:-1]) <= RESAMPLED_MM and gaps[-1] <= SAME_NODULE_MM
    # all reference nodules of the scan are in the left lung
    for result in (plain, tilted):
        for detection in result.detections:
            if detection.score > SURE_SCORE:
                assert detection.lung_side == 'left'


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason='one of six marks moves by 1.82 mm, the others by 0.4 to 1.1',
)
def test_the_shipped_detector_marks_a_tilted_scan_alike(
    shipped_results: dict[str, SeriesResult],
) -> None:
    plain, tilted = shipped_results['plain'], shipped_results['tilted']
    assert farthest(sure(plain), centers(tilted)) <= RESAMPLED_MM
    assert farthest(sure(tilted), centers(plain)) <= RESAMPLED_MM


def infer(
    inferencer: NoduleInferencer, folder: Path, out: Path
) -> dict[str, SeriesResult]:
    """Results of all scans of a folder by their name, as a run wrote them."""
    scans, _ = find_scans([folder], out)
    run = ScanRun(inferencer, scans, out, InferOptions(formats=('json',)))

    run.run()

    for outcome in run.outcomes:
        assert outcome.state == 'done', outcome.reason
    return {
        outcome.series_uid: read_result(out / outcome.folder / 'result.json')
        for outcome in run.outcomes
    }


def centers(result: SeriesResult) -> np.ndarray:
    return np.array([detection.center_mm for detection in result.detections])


def sure(result: SeriesResult) -> np.ndarray:
    scores = np.array([detection.score for detection in result.detections])
    return centers(result)[scores > SURE_SCORE]


def nearest(points: np.ndarray, others: np.ndarray) -> list[float]:
    """The distance of each point from its nearest among others, mm."""
    return [
        float(np.linalg.norm(others - point, axis=1).min()) for point in points
    ]


def farthest(points: np.ndarray, others: np.ndarray) -> float:
    return max(nearest(points, others))
