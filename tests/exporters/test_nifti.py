from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from lungdet.exporters import ExportInput, export_result
from lungdet.exporters.nifti import write_nifti
from lungdet.io.image import read_image
from lungdet.io.results import read_result
from lungdet.structures import Detection, SeriesResult
from tests.exporters.scene import GRID, make_result, turned_scan


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


def test_nibabel_finds_the_labels_where_the_nodules_are(
    tmp_path: Path,
) -> None:
    """On a turned grid; nibabel's world is RAS."""
    _, result, blocks = turned_scan()

    write_nifti(tmp_path, ExportInput(result))

    image = nib.load(tmp_path / 'masks.nii.gz')
    labels = np.asanyarray(image.dataobj)
    for (k, detection), block in zip(result.numbered(), blocks, strict=True):
        np.testing.assert_array_equal(labels.T == k, block)
        voxels = np.argwhere(labels == k)
        ras = nib.affines.apply_affine(image.affine, voxels).mean(axis=0)
        np.testing.assert_allclose(
            ras * (-1, -1, 1), detection.center_mm, atol=1e-4
        )


def test_overlaps_are_caveats_of_the_result(tmp_path: Path) -> None:
    """Two of four voxels of the worse mask have the better one's number."""
    result = make_result()
    result.detections[1] = replace(
        result.detections[1],
        mask_box=(1, 2, 4, 2, 4, 6),
        mask=np.ones((1, 2, 2), bool),
    )

    written = export_result(tmp_path, result, ['nifti', 'json'])

    stored = read_result(tmp_path / 'result.json')
    assert stored.caveats == written.caveats
    assert stored.caveats[0] == 'a doubt'
    assert stored.caveats[1].endswith('it holds 2 of 4 voxels of nodule 2')
    assert result.caveats == ['a doubt']
    again = export_result(tmp_path, written, ['nifti'])
    assert again.caveats == written.caveats
    assert export_result(tmp_path, result, ['json']).caveats == ['a doubt']


def test_without_masks_there_is_no_file(tmp_path: Path) -> None:
    result = SeriesResult('1.2', [Detection((0, 0, 0), 0.5)], GRID)

    assert write_nifti(tmp_path, ExportInput(result)) == []
    assert not [*tmp_path.iterdir()]
