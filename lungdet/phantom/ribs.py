"""Sloping arcs of bone in the chest wall."""

from __future__ import annotations

import numpy as np

from lungdet.phantom.body import ChestShape
from lungdet.phantom.chest import Chest

RADIUS_MM, CORTEX_MM = 4.6, 1.7  # of a rib, and of its dense rim
ARC = np.linspace(-0.42 * np.pi, 0.46 * np.pi, 17)  # from breastbone to spine


def add_ribs(chest: Chest, shape: ChestShape) -> None:
    """Blend the ribs of both sides into a chest."""
    body = chest.body
    a = shape.lung_x + shape.lung_half_width + 6 * body.scale
    b = shape.lung_half_depth + 10 * body.scale
    top = body.height / 2 + 60
    for z0 in np.arange(-body.height / 2 - 20, top, 24 * body.scale):
        for side in (-1, 1):
            points = np.stack(
                [
                    side * a * np.cos(ARC),
                    b * np.sin(ARC),
                    z0 + 28 * np.sin(ARC) * body.scale,
                ],
                axis=1,
            )
            _draw_rib(chest, points)


def _draw_rib(chest: Chest, points: np.ndarray) -> None:
    """Cortex and marrow along points (N, 3) x, y, z mm."""
    hu, radius = chest.body.hu, RADIUS_MM * chest.body.scale
    inner = radius - CORTEX_MM
    for p, q in zip(points[:-1], points[1:]):
        if min(p[2], q[2]) > chest.axes[0][-1] + 10:
            continue
        chest.add_tube(p, q, radii=(radius, radius), value=hu.cortex * 0.85)
        chest.add_tube(p, q, radii=(inner, inner), value=hu.marrow * 0.8)
