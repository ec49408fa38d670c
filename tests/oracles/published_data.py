"""The published system's data pipeline and mask steps, literally.

Written from a description of that system, faults included. They are a
measure for tests alone: the package resamples, crops and pads by its own
rules. Positions are voxel indices (z, y, x), boxes centre and size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import label, rotate, zoom

PAD = 170  # of 0..255: 0 HU
MARGIN = 12  # voxels between a nodule and the faces of its crop


def hu_to_uint8(hu: np.ndarray) -> np.ndarray:
    hu = np.where(np.isnan(hu), -2000, hu)
    return (255 * np.clip((hu + 1200) / 1800, 0, 1)).astype(np.uint8)


def resampled(
    shape: Sequence[int], spacing: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Shape at 1 mm, and the spacing that is reported for it."""
    new = [round(n * mm) for n, mm in zip(shape, spacing)]
    return new, [mm * n / m for n, mm, m in zip(shape, spacing, new)]


def lung_box(
    mask: np.ndarray, new_shape: Sequence[int], margin: int
) -> list[list[int]]:
    """[start, end) of each axis after resampling; the end lies one short."""
    box = []
    for inds, old, new in zip(np.nonzero(mask), mask.shape, new_shape):
        low = int(np.floor(inds.min() * new / old)) - margin
        high = int(np.floor(inds.max() * new / old)) + margin
        box.append([max(low, 0), min(high, new)])
    return box


def learning_rate(epoch: int) -> float:
    """Epochs count from 1."""
    if epoch <= 100:
        return 0.01
    return 0.001 if epoch <= 160 else 0.0001


def draw_scale(diameter: float, uniform: float) -> float:
    low = min(max(8 / diameter, 0.75), 1)
    high = max(min(120 / diameter, 1.25), 1)
    return low + uniform * (high - low)


def start_range(center: float, diameter: float, side: int) -> list[int]:
    """First start of a crop and the last one + 1, on one axis."""
    radius = diameter / 2
    first = int(np.ceil(center + radius)) + MARGIN + 1 - side
    last = int(np.floor(center - radius)) - MARGIN
    return [first, last + 1]


def cut(
    volume: np.ndarray, start: Sequence[int], side: int, fill: int
) -> np.ndarray:
    crop = np.full((side,) * 3, fill, dtype=volume.dtype)
    source, target = [], []
    for first, length in zip(start, volume.shape):
        low, high = max(first, 0), min(first + side, length)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    crop[tuple(target)] = volume[tuple(source)]
    return crop


def rescale(
    crop: np.ndarray, scale: float, side: int, fill: int
) -> tuple[np.ndarray, int]:
    """Zoomed to ``side``, missing voxels at the ends, and the side zoomed."""
    zoomed = zoom(crop, scale, order=1)
    full = np.full((side,) * 3, fill, dtype=crop.dtype)
    inner = zoomed[:side, :side, :side]
    full[tuple(slice(n) for n in inner.shape)] = inner
    return full, len(zoomed)


def training_sample(
    image: np.ndarray,
    mask: np.ndarray,
    target: Sequence[float],
    rng: np.random.Generator,
    side: int = 128,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One nodule's crop of a whole scan: input, mask of components, boxes.

    Args:
        image: uint8 of the whole scan.
        mask: Of its nodules.
        target: Centre (z, y, x) and diameter of the crop's nodule.
        rng: Of all draws.
        side: Of the crop.
    """
    center, diameter = np.array(target[:3]), target[3]
    scale = draw_scale(diameter, rng.random())
    source = int(side / scale)
    start = [
        int(rng.integers(*start_range(c, diameter, source))) for c in center
    ]
    crop, _ = rescale(cut(image, start, source, PAD), scale, side, PAD)
    inside, _ = rescale(
        cut((mask > 0).astype(np.uint8), start, source, 0), scale, side, 0
    )
    center = (center - start) * scale
    for _ in range(3):
        angle = 180 * rng.random()
        if np.abs(turned(center, angle, side) - side / 2).max() < (
            side / 2 - diameter
        ):
            crop, inside = (
                rotate(a, angle, axes=(1, 2), reshape=False)
                for a in (crop, inside)
            )
            break
    for axis in (1, 2):
        if rng.random() < 0.5:
            crop, inside = (np.flip(a, axis) for a in (crop, inside))
    components, num = label(inside)
    boxes = boxes_of_masks([components == k for k in range(1, num + 1)], 8)
    return normalise(crop), components, boxes


def turned(center: np.ndarray, angle: float, side: int) -> np.ndarray:
    """Where a point lies after a rotation about z, in degrees."""
    radians = np.deg2rad(angle)
    z, y, x = center - side / 2
    cos, sin = np.cos(radians), np.sin(radians)
    return np.array([z, cos * y - sin * x, sin * y + cos * x]) + side / 2


def padded(side: int) -> int:
    """Next multiple of the stride of the whole network."""
    while side % 16:
        side += 1
    return side


def normalise(value: np.ndarray) -> np.ndarray:
    return (value.astype(np.float64) - 128) / 128


def boxes_of_masks(masks: Sequence[np.ndarray], border: int) -> np.ndarray:
    """(z, y, x, d, h, w, label) of each mask, sides widened by ``border``."""
    rows = []
    for mask in masks:
        inds = np.nonzero(mask)
        low = np.array([axis.min() for axis in inds])
        high = np.array([axis.max() for axis in inds])
        rows.append([*(low + high) / 2, *high - low + 1 + border, 1])
    return np.array(rows)


def mask_nms(masks: Sequence[np.ndarray], thr: float) -> list[int]:
    """Whole volumes, best first; a pair of empty masks drops nothing."""
    keep: list[int] = []
    for k, mask in enumerate(masks):
        overlaps = []
        for j in keep:
            union = np.count_nonzero(mask | masks[j])
            both = np.count_nonzero(mask & masks[j])
            overlaps.append(both / union if union else np.nan)
        if not any(overlap > thr for overlap in overlaps):
            keep.append(k)
    return keep


def paste(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers from 1, best first; a later, worse mask overwrites."""
    labels = np.zeros(masks[0].shape, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return labels
