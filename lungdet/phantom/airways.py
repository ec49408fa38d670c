"""Trachea, main bronchi and their first branches, with walls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lungdet.phantom.body import Body
from lungdet.phantom.chest import TRACHEA, Chest

WALL_MM = (1.4, 1.2)  # at the start and at the end of a tube
NARROWING = 0.7  # radius at a tube's end, as a fraction of that at its start
# y, z mm of the segmental bronchi's ends from the hilum, of a grown man
SEGMENTS = ((-30, 22), (24, -34), (-14, -30), (22, 20))


class Airway(NamedTuple):
    """A tube of air: its ends, x, y, z mm, and the radius of its lumen."""

    start: np.ndarray
    stop: np.ndarray
    radius: float


def add_airways(chest: Chest) -> None:
    """Blend the airways into a chest and label the trachea."""
    hu = chest.body.hu
    airways = airway_tree(chest.body, top=chest.axes[0][-1] + 10)
    for start, stop, radius in airways:
        radii = (radius + WALL_MM[0], NARROWING * radius + WALL_MM[1])
        chest.add_tube(start, stop, radii=radii, value=hu.soft - 20)
    for start, stop, radius in airways:  # last: no wall closes a branch
        radii = (radius, NARROWING * radius)
        chest.add_tube(start, stop, radii=radii, value=hu.lumen)
    start, stop, radius = airways[0]
    region, distance = chest.tube_distance(start, stop, (radius, radius))
    chest.labels[region][distance[1] < 0] = TRACHEA


def airway_tree(body: Body, top: float) -> list[Airway]:
    """The tubes of a chest, the trachea first.

    Args:
        body: Sizes.
        top: Where the trachea enters, z mm.
    """
    s = body.scale
    carina = np.array([0.0, -2.0, 0.12 * body.height])
    airways = [Airway(np.array([0.0, -6.0, top]), carina, 8.0 * s)]
    for side in (-1, 1):
        hilum = np.array([side * 26 * s, 8.0, 0.0])
        airways.append(Airway(carina, hilum, 5.5 * s))
        for dy, dz in SEGMENTS:
            tip = hilum + np.array([side * 28 * s, dy * s, dz * s])
            airways.append(Airway(hilum, tip, 2.6 * s))
    return airways
