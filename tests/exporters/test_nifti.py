from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.exporters import ExportInput
from lungdet.exporters.nifti import write_nifti
from lungdet.io.image import read_image
from lungdet.structures import Detection, SeriesResult
from tests.exporters.scene import GRID, make_result


def test_the_file_is_on_the_grid_of_the_scan(tmp_path: Path) -> None:
    result = make_result()

    assert write_nifti(tmp_path, ExportInput(result)) == ['masks.nii.gz']

    labels = read_image(tmp_path / 'masks.nii.gz')
    assert labels.geometry.is_close(GRID)
    assert np.argwhere(labels.array).tolist() == [
        [1, 2, 3],
        [1, 2, 4],
        [1, 3, 3],
        [1, 3, 4],
    ]


def test_without_masks_there_is_no_file(tmp_path: Path) -> None:
    result = SeriesResult('1.2', [Detection((0, 0, 0), 0.5)], GRID)

    assert write_nifti(tmp_path, ExportInput(result)) == []
    assert not [*tmp_path.iterdir()]
