from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.prepare import find_lungs, prepare_case
from lungdet.prepare.world_boxes import BoxReferences, read_boxes
from lungdet.structures import Volume
from tests.prepare.scans import block_scan

HEADER = 'seriesuid,x1,y1,z1,x2,y2,z2\n'


def test_world_boxes_keep_their_sides_in_the_case(tmp_path: Path) -> None:
    table = tmp_path / 'boxes.csv'
    table.write_text(HEADER + 'a,-3,25,-20,5,31,-8\na,10,30,-15,14,38,-5\n')
    volume = block_scan()
    rows = read_boxes(table)['a']
    references = BoxReferences(tuple(rows)).read(volume)

    record, arrays = prepare_case(volume, find_lungs(volume), references)

    assert 'mask' not in arrays
    for nodule, row in zip(record.nodules, rows):
        corners = np.array(nodule.box).reshape(2, 3) - 0.5
        world = record.geometry.to_world(corners).ravel()
        np.testing.assert_allclose(world, row, atol=1e-9)
    first = record.nodules[0]
    assert first.center_mm == (1, 28, -14)
    assert first.diameter_mm == pytest.approx((8 * 6 * 12) ** (1 / 3))


def test_a_box_does_not_grow_on_an_oblique_grid() -> None:
    turn = np.deg2rad(25)
    affine = np.eye(4)
    affine[:3, :3] = [
        [0, -np.sin(turn), np.cos(turn)],
        [0, np.cos(turn), np.sin(turn)],
        [1, 0, 0],
    ]
    volume = Volume(
        np.zeros((40, 40, 40), dtype=np.int16),
        Geometry((40, 40, 40), affine),
        '1.2',
    )
    middle = volume.geometry.to_world([[20, 20, 20]])[0]
    box = (*(middle - 5).tolist(), *(middle + 5).tolist())

    (nodule,) = BoxReferences((box,)).read(volume).nodules

    # index 20 is the middle of a voxel, 20.5 between edges
    assert nodule.box == pytest.approx((15.5,) * 3 + (25.5,) * 3)
    assert nodule.annotation.diameter_mm == pytest.approx(10)


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


def test_a_box_larger_than_a_nodule_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'boxes.csv'
    path.write_text('seriesuid,x1,y1,z1,x2,y2,z2\na,0,0,0,9,294,9\n')

    with pytest.raises(AnnotationError, match=r'csv:2: a side of 294 mm'):
        read_boxes(path)
