"""The coarse grid on which body and lungs are segmented."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry, block_means
from lungdet.structures import Volume

COARSE_MM = 3.0
COARSE_HU = (-1000, 400)  # wider, metal would dominate a mean


def coarse_means(volume: Volume) -> tuple[np.ndarray, Geometry]:
    """Block means of about 3 mm, HU clipped to [-1000, 400].

    Returns:
        float32 (z, y, x), and its grid.
    """
    factors = np.maximum(np.rint(COARSE_MM / volume.geometry.spacing), 1)
    return block_means(
        volume.array, volume.geometry, factors.astype(int), limits=COARSE_HU
    )
