from __future__ import annotations

from lungdet.phantom.airways import WALL_MM


def test_airway_walls_are_one_to_two_millimetres() -> None:
    assert all(1 <= wall <= 2 for wall in WALL_MM)
