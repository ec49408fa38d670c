"""Texture of a real scan: uneven parenchyma, correlated noise."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import interpolate_axis
from lungdet.hounsfield import HU_MAX
from lungdet.phantom.chest import Chest

SLICE_CORRELATION = 0.115 * 2.5  # filter weight of noise along z, times mm
BLOTCH_MM = 14  # distance of the random values of parenchyma
LUNG_GAIN = 0.35  # more noise in the lungs, relative to that in soft tissue
OUT_OF_VIEW_HU = -2000  # outside the circular field of view
LOWEST_HU = -2048  # that a scanner stores


def parenchyma_texture(rng: np.random.Generator, chest: Chest) -> np.ndarray:
    """Slow variation of the lungs, by gravity and in patches, HU (z, y, x).

    Zero outside the lungs; float32 throughout, so that a chest's voxels do not
    depend on rounding.
    """
    spacing = chest.body.geometry.spacing
    size = [
        max(2, int(n * s / BLOTCH_MM)) + 2
        for n, s in zip(chest.hu.shape, spacing)
    ]
    blotches = rng.normal(0, 1, size).astype(np.float32)
    for axis, n in enumerate(chest.hu.shape):
        last = blotches.shape[axis] - 1.001
        blotches = interpolate_axis(blotches, np.linspace(0, last, n), axis)
    y = chest.axes[1]
    slope = (25 * y / abs(y[-1])).astype(np.float32)[None, :, None]
    blotches *= np.float32(rng.uniform(50, 74))
    blotches += slope
    blotches *= chest.lungs
    return blotches


def add_noise(rng: np.random.Generator, chest: Chest) -> np.ndarray:
    """int16 HU (z, y, x) with correlated noise, stronger in the lungs."""
    body = chest.body
    noise = rng.standard_normal(chest.hu.shape, dtype=np.float32)
    along_z = min(SLICE_CORRELATION / body.geometry.spacing[0], 0.25)
    kept = 1.0  # fraction of the variance that survives resampling to 1 mm
    for axis, weight in enumerate((along_z, body.smooth, body.smooth)):
        noise = _three_tap(noise, axis, weight)
        neighbour = 2 * weight * (1 - 2 * weight)
        neighbour /= 2 * weight**2 + (1 - 2 * weight) ** 2
        kept *= (2 + neighbour) / 3
    gain = np.float32(body.noise / np.sqrt(kept) / noise[::3].std())
    noise *= gain * (1 + np.float32(LUNG_GAIN) * chest.lungs)
    noise += chest.hu
    _, y, x = chest.axes
    noise[:, y[:, None] ** 2 + x[None, :] ** 2 > y[-1] ** 2] = OUT_OF_VIEW_HU
    noise = np.clip(np.rint(noise, out=noise), LOWEST_HU, HU_MAX)
    return noise.astype(np.int16)


def _three_tap(values: np.ndarray, axis: int, weight: float) -> np.ndarray:
    """Filter with (weight, 1 - 2 weight, weight) along one axis.

    It sums in float32 and in a fixed order, unlike ``ndimage.correlate1d``:
    other rounding would change the phantoms of the documented results.
    """
    if weight == 0:
        return values
    out = np.float32(1 - 2 * weight) * values
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    out[tuple(low)] += np.float32(weight) * values[tuple(high)]
    out[tuple(high)] += np.float32(weight) * values[tuple(low)]
    return out
