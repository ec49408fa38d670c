from __future__ import annotations

import numpy as np

from lungdet.exporters.diameter_line import diameter_line
from lungdet.geometry import Geometry


def test_a_line_stays_on_its_slice() -> None:
    grid = Geometry.from_parts(
        (1, 16, 24), spacing_zyx=(2, 4, 3.5), origin_xyz=(0, 0, 0)
    )

    for center, ends in (
        ((42, 30, 0), [[11, 8], [14, 8]]),  # along a row
        ((1.75, 30, 0), [[1, 6.6875], [1, 9.3125]]),  # the row is too short
    ):
        np.testing.assert_allclose(diameter_line(center, 10.5, grid), ends)
    assert diameter_line((1.75, 2, 0), 10.5, grid) is None  # in a corner
    assert diameter_line((42, 30, 0), 85, grid) is None
