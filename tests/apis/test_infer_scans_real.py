"""A real scan in every form in which it may be stored."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.scan_inputs import find_scans
from lungdet.apis.scan_steps import InferOptions
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from lungdet.evaluation import Selection
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, write_image
from lungdet.io.results import read_result
from tests.engine.conftest import tiny_config, tiny_store, trained

__all__ = ['tiny_config', 'tiny_store', 'trained']
UID = '1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192'
SAME_MM = 0.5
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


def write_forms(dicom: Path, folder: Path) -> None:
    """The scan again: flipped, oblique, and in three other formats."""
    folder.mkdir()
    volume = load_volume(dicom)
    array, grid = volume.array, volume.geometry
    for name in ('plain.mhd', 'nifti.nii.gz', 'nrrd.nrrd'):
        write_image(folder / name, array, grid)
    flip = np.diag([-1.0, -1.0, -1.0, 1.0])  # of each index axis
    flip[:3, 3] = np.array(array.shape) - 1
    write_image(
        folder / 'flipped.mha',
        np.ascontiguousarray(array[::-1, ::-1, ::-1]),
        Geometry(grid.shape, grid.affine @ flip),
    )
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
    scans, _ = find_scans([tmp_path / 'in'], tmp_path / 'out')
    run = ScanRun(
        inferencer, scans, tmp_path / 'out', InferOptions(formats=('json',))
    )

    run.run()

    marks = {}
    for outcome in run.outcomes:
        assert outcome.state == 'done', outcome.reason
        result = read_result(tmp_path / 'out' / outcome.folder / 'result.json')
        marks[outcome.series_uid] = np.array(
            [detection.center_mm for detection in result.detections]
        )
    expected = marks.pop(UID)
    assert len(expected) > 10 and len(marks) == 5
    assert all(len(there) == len(expected) for there in marks.values())
    marks['oblique'] = marks['oblique'] @ TURN[:3, :3]
    worst = {
        name: max(
            np.linalg.norm(there - center, axis=1).min() for center in expected
        )
        for name, there in marks.items()
    }
    assert all(gap <= SAME_MM for gap in worst.values()), worst
