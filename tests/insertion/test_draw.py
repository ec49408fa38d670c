"""Draws of nodules and shams keep their distance."""

from __future__ import annotations

import math

import numpy as np

from lungdet.insertion.draw import DrawOptions, draw_nodule
from lungdet.insertion.sites import GAP_MM, GridSphere, Room
from lungdet.insertion.source import LibrarySource
from tests.io.nodules import ball_nodule

SPACING = np.ones(3)
OPTIONS = DrawOptions(scale=(1.0, 1.0))


def test_a_nodule_of_the_pleura_is_apart_where_it_ends_up(
    rng: np.random.Generator,
) -> None:
    """It lies a centimetre deeper than the point of the pleura."""
    image = np.full((64, 64, 64), -870.0)
    image[:, :, :9] = 40
    lungs = (image < -500).astype(np.uint8)
    source = LibrarySource(
        [
            ball_nodule(
                'a',
                diameter_mm=10.0,
                site='pleura',
                wall_mm=5.0,
                wall_direction=(0.0, -1.0),
            )
        ]
    )
    other = GridSphere(np.array([32.0, 32.0, 72.0]), 47.0)
    radius = source.donor(source.draw(rng, ())).diameter_mm / 2
    drawn = 0
    for _ in range(150):
        room = Room(image, lungs, SPACING, margin=6, occupied=[other])
        nodule = draw_nodule(rng, room, source, OPTIONS)
        if nodule is None:
            continue
        drawn += 1
        gap = math.dist(nodule.center, other.center) - 47
        assert gap >= radius + GAP_MM
        assert min(nodule.center) >= 6 and max(nodule.center) <= 57
    assert drawn > 10
