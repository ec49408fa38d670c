from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.image import write_image
from lungdet.io.luna16 import read_annotations
from lungdet.prepare import find_lungs, prepare_case
from lungdet.prepare.label_image import LabelImageReferences
from lungdet.prepare.references import (
    NoduleMask,
    ReferenceNodule,
    References,
    ReferenceSource,
    TableReferences,
)
from lungdet.prepare.world_boxes import BoxReferences, read_boxes
from lungdet.structures import Annotation, Volume
from tests.prepare.scans import block_scan


def test_box_of_a_mask_crops_its_voxels_from_the_scan() -> None:
    scan = np.zeros((9, 9, 9), dtype=bool)
    scan[2:5, 3:4, 6:9] = True

    mask = NoduleMask((2, 3, 6), scan[2:5, 3:4, 6:9])

    assert mask.box.tolist() == [2, 3, 6, 5, 4, 9]


def test_rows_become_nodules_in_their_order() -> None:
    rows = (Annotation((1, 2, 3), 6.0), Annotation((4, 5, 6), None))
    table = TableReferences(rows)

    references = table.read(block_scan())

    assert [n.annotation for n in references.nodules] == [*rows]
    assert all(n.box is None and n.mask is None for n in references.nodules)
    assert not references.caveats and references.patient_id is None
    assert table.table_rows() == rows
    assert table.settings() != TableReferences(rows[::-1]).settings()


CENTER = (0.0, 0.0, 0.0)
SIDE = 2.0  # mm, of a voxel


def scan() -> Volume:
    """Soft tissue of 240 mm around the origin."""
    shape = (120, 120, 120)
    grid = Geometry.from_parts(
        shape, spacing_zyx=(SIDE,) * 3, origin_xyz=(-119,) * 3
    )
    return Volume(np.full(shape, 40, np.int16), grid, 'a')


def read_table(path: Path, width: float) -> ReferenceSource:
    text = 'seriesuid,coordX,coordY,coordZ,diameter_mm\n'
    path.write_text(f'{text}a,0,0,0,{width}\n')
    return TableReferences(tuple(read_annotations(path)['a']))


def read_box(path: Path, width: float) -> ReferenceSource:
    corners = [-width / 2] * 3 + [width / 2] * 3
    row = ','.join(map(str, ['a', *corners]))
    path.write_text(f'seriesuid,x1,y1,z1,x2,y2,z2\n{row}\n')
    return BoxReferences(tuple(read_boxes(path)['a']))


def read_mask(path: Path, width: float) -> ReferenceSource:
    """A bar, whose volume is that of a small sphere."""
    volume = scan()
    labels = np.zeros(volume.array.shape, np.uint8)
    reach = round(width / SIDE / 2)
    labels[60 - reach : 60 + reach, 58:62, 58:62] = 1
    file = path.with_suffix('.nii.gz')
    write_image(file, labels, volume.geometry)
    return LabelImageReferences(file)


def read_outline(path: Path, width: float) -> ReferenceSource:
    """A table row of 20 mm whose outline is damaged."""
    mask = np.ones((2, 2, round(width / SIDE)), bool)
    left = round((240 - width) / SIDE / 2)
    nodule = ReferenceNodule(
        Annotation(CENTER, 20.0), mask=NoduleMask((60, 60, left), mask)
    )
    return SimpleNamespace(read=lambda volume: References((nodule,)))


@pytest.mark.parametrize(
    'source', [read_table, read_box, read_mask, read_outline]
)
def test_the_limits_of_nodules_are_those_of_tables(
    source: Callable[[Path, float], ReferenceSource], tmp_path: Path
) -> None:
    """More than 40 mm is a caveat, more than 200 an error."""
    volume = scan()

    def prepared(width: float) -> list[str]:
        references = source(tmp_path / 'a.csv', width).read(volume)
        return prepare_case(volume, find_lungs(volume), references)[0].caveats

    assert not any('mm wide' in text for text in prepared(36.0))
    assert any('is 92 mm wide' in text for text in prepared(92.0))
    assert any('is 200 mm wide' in text for text in prepared(200.0))
    with pytest.raises(AnnotationError, match='200 mm|limit is 200|than 200'):
        prepared(204.0)
