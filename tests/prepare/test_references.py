from __future__ import annotations

import numpy as np

from lungdet.prepare.references import NoduleMask, TableReferences
from lungdet.structures import Annotation
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
