"""Grids that several tests use."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry


def rotation(a: float, b: float, c: float) -> np.ndarray:
    def about(axis: int, angle: float) -> np.ndarray:
        turn = np.eye(3)
        i, j = (k for k in range(3) if k != axis)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        return turn

    return about(0, a) @ about(1, b) @ about(2, c)


def oblique() -> Geometry:
    return Geometry.from_parts(
        (4, 5, 7),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-120.5, 33.25, -410.0),
        direction=rotation(0.3, -0.2, 0.5),
    )
