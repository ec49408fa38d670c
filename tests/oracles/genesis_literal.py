"""The pair of Models Genesis, loop by loop, as its rules are written.

Slow on purpose: one window, one box and one voxel filter at a time.
"""

from __future__ import annotations

import numpy as np


def literal_tissue_score(hu: np.ndarray, threshold: float = -150) -> float:
    """Fraction of soft tissue with a look-ahead of two slices.

    Args:
        hu: (D + 2, H, W); the crop and the two slices after it.
    """
    depth = hu.shape[0] - 2
    total = 0.0
    for z in range(depth):
        for y in range(hu.shape[1]):
            for x in range(hu.shape[2]):
                first = 2
                for k in range(3):
                    if hu[z + k, y, x] >= threshold:
                        first = k
                        break
                total += 1 - first / 2
    return total / (depth * hu.shape[1] * hu.shape[2])


def literal_flip(
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    count = 3
    while rng.random() < 0.4 and count > 0:
        axis = int(rng.integers(3))
        x, y = np.flip(x, axis), np.flip(y, axis)
        count -= 1
    return x, y


def literal_shuffle(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """10,000 windows with sides up to a tenth of the crop's."""
    original, x = x, x.copy()
    for _ in range(10_000):
        region = []
        for side in x.shape:
            size = int(rng.integers(1, side // 10 + 1))
            start = int(rng.integers(0, side - size + 1))
            region.append(slice(start, start + size))
        window = original[tuple(region)]
        values = window.flatten()
        rng.shuffle(values)
        x[tuple(region)] = values.reshape(window.shape)
    return x


def literal_intensity(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    (a, b), (c, d) = rng.random((2, 2))
    t = np.linspace(0, 1, 100_000)
    xs = 3 * (1 - t) ** 2 * t * a + 3 * (1 - t) * t**2 * c + t**3
    ys = 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * d + t**3
    xs, ys = xs[::-1], ys[::-1]
    if rng.random() < 0.5:  # the falling direction sorts x alone
        return np.interp(x, np.sort(xs), ys)
    return np.interp(x, np.sort(xs), np.sort(ys))


def literal_inpainting(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x = x.copy()
    count = 5
    while count > 0 and rng.random() < 0.95:
        box = []
        for side in x.shape:
            size = int(rng.integers(side // 6, side // 3 + 1))
            start = int(rng.integers(3, side - size - 3 + 1))
            box.append(slice(start, start + size))
        x[tuple(box)] = rng.random(x[tuple(box)].shape)
        count -= 1
    return x


def literal_outpainting(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    original, x = x, rng.random(x.shape)
    count = 5
    while count == 5 or (count > 0 and rng.random() < 0.95):
        box = []
        for side in x.shape:
            size = side - int(rng.integers(3 * side // 7, 4 * side // 7 + 1))
            start = int(rng.integers(3, side - size - 3 + 1))
            box.append(slice(start, start + size))
        x[tuple(box)] = original[tuple(box)]
        count -= 1
    return x


def literal_pair(
    crop: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Corrupted and untouched crop."""
    x, y = literal_flip(crop.copy(), crop.copy(), rng)
    if rng.random() < 0.5:
        x = literal_shuffle(x, rng)
    if rng.random() < 0.9:
        x = literal_intensity(x, rng)
    if rng.random() < 0.9:
        inside = rng.random() < 0.2
        x = (literal_inpainting if inside else literal_outpainting)(x, rng)
    return x, y
