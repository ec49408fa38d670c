from __future__ import annotations

import numpy as np
import pytest

from lungdet.errors import GeometryError
from lungdet.geometry import Geometry, isotropic_geometry
from lungdet.prepare import find_lungs, prepare_case
from lungdet.prepare.grid import case_grid
from lungdet.prepare.lung_field import LungField
from tests.prepare.scans import block_scan


def test_spacing_that_would_fill_the_memory_is_refused() -> None:
    scan = block_scan()
    with pytest.raises(GeometryError, match='give a larger spacing'):
        prepare_case(scan, find_lungs(scan), spacing_mm=0.03)


def test_margins_are_mm_on_a_grid_of_2_mm() -> None:
    source = Geometry.from_parts(
        (100, 100, 100), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    mask = np.zeros(source.shape, dtype=bool)
    mask[40:60, 40:60, 40:60] = True  # voxels 20 to 30 of 2 mm
    lungs = LungField(mask, source, 'given')
    nodule = np.array([[78.0, 46, 46, 86, 54, 54]])  # 39 to 43 along z
    whole = isotropic_geometry(source, 2.0)

    bare, _ = case_grid(source, lungs, np.zeros((0, 6)), 2.0)
    wide, caveats = case_grid(source, lungs, nodule, 2.0)

    for grid in (bare, wide):
        start = whole.to_index(grid.origin[None])[0]
        np.testing.assert_allclose(start, 20 - 12 / 2)
    assert bare.shape == (22, 22, 22)  # 12 mm, 6 voxels, on both sides
    assert wide.shape == (43 + 4 - 14, 22, 22)  # 8 mm beyond the nodule
    assert caveats == [
        '1 reference nodules lie outside the lungs and their 12 mm margin; '
        'the case was widened for them'
    ]
