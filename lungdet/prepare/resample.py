"""HU of one grid on another, parallel one."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import Geometry, axis_positions, linear_taps
from lungdet.hounsfield import HU_MAX, HU_MIN


def resample_linear(
    array: np.ndarray, source: Geometry, target: Geometry
) -> np.ndarray:
    """Trilinear resampling between parallel grids, plane by plane.

    Two source planes at a time are held as floats, so memory stays near that
    of input and output. Beyond the source's edge its edge value holds.

    Returns:
        int16, rounded, clamped to [-1024, 3071] HU before interpolation.
    """
    zs, ys, xs = axis_positions(source, target)
    z0, z1, wz = linear_taps(zs, source.shape[0])
    y0, y1, wy = linear_taps(ys, source.shape[1])
    x0, x1, wx = linear_taps(xs, source.shape[2])
    out = np.empty(target.shape, dtype=np.int16)
    planes: dict[int, np.ndarray] = {}

    def plane(k: int) -> np.ndarray:
        if k not in planes:
            for old in [key for key in planes if key < k - 1]:
                del planes[old]
            rows = np.clip(array[k], HU_MIN, HU_MAX).astype(np.float32)
            rows = rows[y0] + wy[:, None] * (rows[y1] - rows[y0])
            planes[k] = rows[:, x0] + wx * (rows[:, x1] - rows[:, x0])
        return planes[k]

    for j in range(target.shape[0]):
        low, high = plane(z0[j]), plane(z1[j])
        out[j] = np.rint(low + wz[j] * (high - low))
    return out
