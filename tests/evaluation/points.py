"""Points of hand-worked scans."""

from __future__ import annotations

import numpy as np


def at(*rows: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Points (x, y, z), and of each a diameter or a score."""
    values = np.array(rows, dtype=float).reshape(-1, 4)
    return values[:, :3], values[:, 3]
