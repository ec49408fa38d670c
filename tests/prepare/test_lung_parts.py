from __future__ import annotations

import numpy as np

from lungdet.prepare.body_mask import find_body
from lungdet.prepare.lung_parts import find_lung_parts
from tests.prepare.scans import chest

SPACING = np.array([3.0, 3.0, 3.0])


def parts_of(hu: np.ndarray):
    values = hu.astype(np.float32)
    return find_lung_parts(values, find_body(values, SPACING), SPACING)


def test_air_of_both_lungs_and_their_vessels() -> None:
    hu = chest()
    lungs = hu == -850
    hu[33:36, 43:46, 25:40] = 40  # a vessel across the right lung

    parts = parts_of(hu)

    np.testing.assert_array_equal(parts.air, hu == -850)
    assert parts.closed[lungs].all()
    assert parts.doubt is None and parts.caveats == ()


def test_small_air_as_bright_as_lung_is_left_out_and_told() -> None:
    hu = chest()
    hu[6:12, 60:68, 48:62] = -820  # 18 ml are too small, 120 ml are not
    hu[4:21, 60:74, 47:62] = -820  # 96 ml, a lung has 1.2 l

    parts = parts_of(hu)

    assert not parts.air[4:21, 60:74, 47:62].any()
    (caveat,) = parts.caveats
    assert 'were left out as too small beside the lungs' in caveat
