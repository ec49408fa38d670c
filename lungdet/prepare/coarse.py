"""The coarse grid on which body and lungs are segmented."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry
from lungdet.structures import Volume

COARSE_MM = 3.0
COARSE_HU = (-1000, 400)  # wider, metal would dominate a mean


def coarse_means(volume: Volume) -> tuple[np.ndarray, Geometry]:
    """Block means of about 3 mm, HU clipped to [-1000, 400].

    Returns:
        float32 (z, y, x), and its grid.
    """
    geometry = volume.geometry
    factors = np.maximum(np.rint(COARSE_MM / geometry.spacing), 1).astype(int)
    coarse = geometry.coarsened(factors)
    dz, dy, dx = factors
    _, y, x = np.array(coarse.shape) * factors
    blocks = np.empty(coarse.shape, dtype=np.float32)
    for k, plane in enumerate(blocks):  # no float copy of the whole volume
        slab = volume.array[k * dz : (k + 1) * dz, :y, :x]
        slab = np.clip(slab, *COARSE_HU)
        slab = slab.reshape(dz, coarse.shape[1], dy, coarse.shape[2], dx)
        plane[:] = slab.mean((0, 2, 4), dtype=np.float32)
    return blocks, coarse
