from __future__ import annotations

import numpy as np

from lungdet.prepare.airway import find_airway

SPACING = np.array([3.0, 3.0, 3.0])
MIDDLE = 30


def body_with(*tubes: tuple[int, int, int, int]) -> tuple:
    """A block of tissue with dark tubes: (first, last slice, y, x)."""
    body = np.zeros((40, 50, 61), dtype=bool)
    body[:, 5:-5, 5:-5] = True
    hu = np.where(body, 40.0, -1000.0)
    y, x = np.ogrid[:50, :61]
    for first, last, row, column in tubes:
        hu[first:last, (y - row) ** 2 + (x - column) ** 2 <= 9] = -980
    return hu, body


def test_the_trachea_is_the_tube_in_the_middle() -> None:
    hu, body = body_with((12, 40, 20, MIDDLE), (0, 40, 25, 52))

    airway = find_airway(hu, body, SPACING)

    wanted = body & (hu < -900)
    wanted[..., 45:] = False
    np.testing.assert_array_equal(airway, wanted)


def test_it_ends_where_it_widens_into_lung() -> None:
    hu, body = body_with((20, 40, 20, MIDDLE))
    hu[8:20, 12:34, 14:46] = -860

    airway = find_airway(hu, body, SPACING)

    assert airway[20:].any((1, 2)).all()
    assert not airway[:20].any()


def test_a_short_tube_and_none_are_no_airway() -> None:
    for tubes in ((), ((34, 40, 20, MIDDLE),)):  # 18 mm
        hu, body = body_with(*tubes)
        assert not find_airway(hu, body, SPACING).any()
