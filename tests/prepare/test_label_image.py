from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.image import write_image
from lungdet.prepare import find_lungs, prepare_case
from lungdet.prepare.label_image import LabelImageReferences
from lungdet.structures import Volume
from tests.prepare.scans import block_scan


def test_large_label_values_number_their_own_nodules(tmp_path: Path) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.int16)
    labels[4:8, 10:20, 10:22] = 256  # wraps to 0 as one byte
    labels[9:12, 25:33, 30:41] = 300  # wraps to 44
    labels[9:12, 25:33, 41:45] = 7  # touches the one before
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    references = LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)
    record, arrays = prepare_case(volume, find_lungs(volume), references)

    assert len(references.nodules) == 3
    assert len(np.unique(arrays['mask'])) == 4
    for nodule, label in zip(record.nodules, (7, 256, 300)):
        voxel = float(np.prod(volume.geometry.spacing))
        true = (labels == label).sum() * voxel
        assert (arrays['mask'] == nodule.id).sum() == pytest.approx(
            true, rel=0.12
        )
        points = np.argwhere(labels == label)
        edges = np.array([points.min(0), points.max(0) + 1]) - 0.5
        wanted = record.geometry.to_index(volume.geometry.to_world(edges))
        np.testing.assert_allclose(
            np.array(nodule.box).reshape(2, 3), wanted + 0.5, atol=1e-4
        )
        assert np.abs(np.subtract(nodule.mask_box, nodule.box)).max() <= 1.0


def test_memory_does_not_depend_on_the_values(tmp_path: Path) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.int32)
    labels[4:8, 10:20, 10:22] = 7
    labels[9:12, 25:33, 30:41] = 2**31 - 1
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    tracemalloc.start()
    references = LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [n.mask.voxels.sum() for n in references.nodules] == [480, 264]
    assert peak < 100e6


def test_parts_of_a_binary_mask_are_nodules_each(tmp_path: Path) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.uint8)
    labels[2:4, 5:9, 6:12] = 255
    labels[4, 9, 12] = 255  # touches it by a corner
    labels[9:12, 25:33, 30:41] = 255
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    references = LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)

    assert [nodule.box for nodule in references.nodules] == [
        (2, 5, 6, 5, 10, 13),
        (9, 25, 30, 12, 33, 41),
    ]
    masks = [nodule.mask for nodule in references.nodules]
    assert [mask.voxels.sum() for mask in masks] == [49, 264]
    assert [mask.start for mask in masks] == [(2, 5, 6), (9, 25, 30)]
    # the second's middle is index (10, 28.5, 35); x = -10 + 35 * 0.7
    center = references.nodules[1].annotation.center_mm
    np.testing.assert_allclose(center, (14.5, 42.8, -5.0), atol=1e-5)
    (caveat,) = references.caveats
    assert 'the only label of a.nii.gz has 2 parts, each of which' in caveat


def test_label_in_parts_beside_others_stays_one_nodule(
    tmp_path: Path,
) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.uint8)
    labels[2:4, 5:9, 6:12] = 4
    labels[9:12, 25:33, 30:41] = 7
    labels[6, 3:5, 40] = 7
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    references = LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)

    assert references.nodules[1].box == (6, 3, 30, 12, 33, 41)
    assert len(references.nodules) == 2
    (caveat,) = references.caveats
    assert caveat == 'label 7 of a.nii.gz has 2 parts and stays one nodule'


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (-1.0, 'number no nodules'),
        (np.nan, 'nan..nan number no nodules'),
        (0.5, 'between whole numbers'),
    ],
)
def test_masks_that_are_no_labels_are_refused(
    tmp_path: Path, value: float, reason: str
) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.float32)
    labels[3:5] = value
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    with pytest.raises(AnnotationError, match=reason):
        LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)


@pytest.mark.parametrize('values', [np.arange(1, 257), 1])
def test_more_nodules_than_numbers_are_refused(
    tmp_path: Path, values: np.ndarray | int
) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.int16)
    apart = np.argwhere(labels[::2, ::2, ::2] == 0)[:256] * 2  # none touches
    labels[tuple(apart.T)] = values
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    with pytest.raises(AnnotationError, match='256 nodules'):
        LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)


@pytest.mark.parametrize(
    ('size', 'hu', 'reason'),
    [
        (30, 40, 'reaches over 240 mm; the limit is 200'),
        (12, -850, 'and -850 HU, which is lung and not tissue'),
    ],
)
def test_an_organ_is_no_nodule(
    tmp_path: Path, size: int, hu: int, reason: str
) -> None:
    """The heart by its size, a lung or a part of one by its air."""
    shape = (40, 40, 40)
    grid = Geometry.from_parts(
        shape, spacing_zyx=(8, 8, 8), origin_xyz=(0, 0, 0)
    )
    labels = np.zeros(shape, np.uint8)
    labels[2 : 2 + size, 2:6, 2:12] = 1
    volume = Volume(np.full(shape, hu, np.int16), grid, 'a')
    write_image(tmp_path / 'a.nii.gz', labels, grid)

    with pytest.raises(AnnotationError, match=rf'a\.nii\.gz: .*{reason}'):
        LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)


def test_a_mass_is_a_nodule_with_a_caveat(tmp_path: Path) -> None:
    shape = (40, 40, 40)
    grid = Geometry.from_parts(
        shape, spacing_zyx=(4, 4, 4), origin_xyz=(0, 0, 0)
    )
    labels = np.zeros(shape, np.uint8)
    labels[4:20, 4:20, 4:20] = 1
    volume = Volume(np.full(shape, 40, np.int16), grid, 'a')
    write_image(tmp_path / 'a.nii.gz', labels, grid)

    references = LabelImageReferences(tmp_path / 'a.nii.gz').read(volume)
    record, _ = prepare_case(volume, find_lungs(volume), references)

    assert any('nodule 1 is 79.4 mm wide' in c for c in record.caveats)
