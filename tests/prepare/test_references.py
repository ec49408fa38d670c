from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError, GeometryError
from lungdet.geometry import Geometry
from lungdet.io.image import write_image
from lungdet.io.lidc_masks import LidcNodule
from lungdet.prepare.case import prepare_case
from lungdet.prepare.references import (
    match_nodules,
    of_boxes,
    of_label_image,
    read_boxes,
)
from lungdet.structures import Annotation, Volume

HEADER = 'seriesuid,x1,y1,z1,x2,y2,z2\n'


def block_scan(shape: tuple[int, int, int] = (16, 40, 50)) -> Volume:
    """Solid, so the whole of it is kept."""
    geometry = Geometry.from_parts(
        shape, spacing_zyx=(2.5, 0.8, 0.7), origin_xyz=(-10, 20, -30)
    )
    return Volume(np.full(shape, 40, np.int16), geometry, 'a')


def test_world_boxes_keep_their_sides_in_the_case(tmp_path: Path) -> None:
    table = tmp_path / 'boxes.csv'
    table.write_text(HEADER + 'a,-3,25,-20,5,31,-8\na,10,30,-15,14,38,-5\n')
    volume = block_scan()
    rows = read_boxes(table)['a']
    found = of_boxes(rows, volume.geometry)

    record, arrays = prepare_case(
        volume,
        annotations=found.annotations,
        excluded=[],
        boxes=found.boxes,
    )

    assert 'mask' not in arrays
    for nodule, row in zip(record.nodules, rows):
        corners = np.array(nodule.box).reshape(2, 3) - 0.5
        world = record.geometry.to_world(corners).ravel()
        np.testing.assert_allclose(world, row, atol=1e-9)
    first = record.nodules[0]
    assert first.center_mm == (1, 28, -14)
    assert first.diameter_mm == pytest.approx((8 * 6 * 12) ** (1 / 3))


@pytest.mark.parametrize(
    ('row', 'reason'),
    [
        ('a,1,2,3,4,5,3', 'boxes.csv:2: the box .* has no volume'),
        ('a,1,2,3,4,5,x', "boxes.csv:2: z2 is 'x'"),
        ('a,1,2,3,4,5', 'boxes.csv:2: 6 cells, the header has 7'),
        ('a,1,2,3,4,nan,6', "boxes.csv:2: y2 is 'nan'"),
        (',1,2,3,4,5,6', 'boxes.csv:2: seriesuid is empty'),
        ('a,1,2,3,4,5,6,7', 'boxes.csv:2: 8 cells, the header has 7'),
    ],
)
def test_boxes_that_cannot_be_right_name_their_line(
    tmp_path: Path, row: str, reason: str
) -> None:
    table = tmp_path / 'boxes.csv'
    table.write_text(HEADER + row + '\n')

    with pytest.raises(AnnotationError, match=reason):
        read_boxes(table)


def test_large_label_values_number_their_own_nodules(tmp_path: Path) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.int16)
    labels[4:8, 10:20, 10:22] = 256  # wraps to 0 as one byte
    labels[9:12, 25:33, 30:41] = 300  # wraps to 44
    labels[9:12, 25:33, 41:45] = 7  # touches the one before
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    found = of_label_image(tmp_path / 'a.nii.gz', volume)
    record, arrays = prepare_case(
        volume,
        annotations=found.annotations,
        excluded=[],
        labels=found.labels,
        label_ids=found.ids,
        boxes=found.boxes,
    )

    assert found.ids == [1, 2, 3]
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


def test_parts_of_a_binary_mask_are_nodules_each(tmp_path: Path) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.uint8)
    labels[2:4, 5:9, 6:12] = 255
    labels[4, 9, 12] = 255  # touches it by a corner
    labels[9:12, 25:33, 30:41] = 255
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    found = of_label_image(tmp_path / 'a.nii.gz', volume)

    assert [box.tolist() for box in found.boxes] == [
        [2, 5, 6, 5, 10, 13],
        [9, 25, 30, 12, 33, 41],
    ]
    assert np.bincount(found.labels.ravel())[1:].tolist() == [49, 264]
    # the second's middle is index (10, 28.5, 35); x = -10 + 35 * 0.7
    center = found.annotations[1].center_mm
    np.testing.assert_allclose(center, (14.5, 42.8, -5.0), atol=1e-5)
    assert volume.caveats == [
        'the only label of a.nii.gz has 2 parts, each of which became a nodule'
    ]


def test_label_in_parts_beside_others_stays_one_nodule(
    tmp_path: Path,
) -> None:
    volume = block_scan()
    labels = np.zeros(volume.array.shape, dtype=np.uint8)
    labels[2:4, 5:9, 6:12] = 4
    labels[9:12, 25:33, 30:41] = 7
    labels[6, 3:5, 40] = 7
    write_image(tmp_path / 'a.nii.gz', labels, volume.geometry)

    found = of_label_image(tmp_path / 'a.nii.gz', volume)

    assert found.boxes[1].tolist() == [6, 3, 30, 12, 33, 41]
    assert len(found.annotations) == 2
    assert volume.caveats == [
        'label 7 of a.nii.gz has 2 parts and stays one nodule'
    ]


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
        of_label_image(tmp_path / 'a.nii.gz', volume)


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
        of_label_image(tmp_path / 'a.nii.gz', volume)


def test_rows_and_outlines_pair_once_each() -> None:
    geometry = Geometry.from_parts(
        (10, 20, 30), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
    )
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    labels[2:4, 4:8, 4:8] = 1
    labels[6:8, 10:14, 20:24] = 2
    nodules = [
        LidcNodule(1, 4, (5.5, 5.5, 5.0), 5.0),
        LidcNodule(2, 3, (21.5, 11.5, 13.0), 5.0),
    ]
    rows = [
        Annotation((21.5, 14.5, 13.0), 8.0),  # beside the mask, in radius
        Annotation((5.0, 5.0, 5.0), 6.0),  # in the mask
        Annotation((7.0, 7.0, 5.0), 6.0),  # in it too, but farther away
        Annotation((15.0, 2.0, 1.0), 6.0),  # nothing there
    ]

    assert match_nodules(rows, nodules, labels, geometry) == [
        2,
        1,
        None,
        None,
    ]


def test_nodule_outside_the_scan_is_refused() -> None:
    with pytest.raises(AnnotationError, match='nodule 2 .* outside the scan'):
        prepare_case(
            block_scan(),
            annotations=[
                Annotation((0.0, 30.0, -20.0), 6.0),
                Annotation((0.0, -30.0, -20.0), 6.0),
            ],
            excluded=[],
        )


def test_spacing_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(GeometryError, match='give a larger spacing'):
        prepare_case(
            block_scan(), annotations=[], excluded=[], spacing_mm=0.03
        )
