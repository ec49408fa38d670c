"""Why a mask cannot be the lungs, or not all of them."""

from __future__ import annotations

import numpy as np

from lungdet.geometry import occupied

LUNG_LITRES = (0.8, 12.0)
LUNG_HU = (-970.0, -500.0)
MIN_HEIGHT_MM = 80.0
MAX_BODY_FRACTION = 0.6  # air in the body, over slices with lung
CENTRAL = (0.25, 0.75)  # of the body's width, depth: the lungs' centroid
SMALL_LUNG = 0.1  # a lung this small relative to the other is doubtful
OPEN_FRACTION = 0.75  # of the next slice's area; below it, the wall is open
END_FRACTION = 0.5  # of the median area; where a tilted body ends, it is less


def doubt_of_lungs(
    air: np.ndarray, hu: np.ndarray, body: np.ndarray, spacing: np.ndarray
) -> str | None:
    """Why air in the body cannot be the lungs; None if it can.

    Args:
        air: Boolean (z, y, x).
        hu: Coarse (z, y, x).
        body: Boolean (z, y, x), filled.
        spacing: mm along (z, y, x).
    """
    return (
        _implausible(air, hu, spacing)
        or _misplaced(air, body)
        or _open_wall(air, body)
    )


def _implausible(
    air: np.ndarray, hu: np.ndarray, spacing: np.ndarray
) -> str | None:
    """Why the volume, darkness or height cannot be that of lungs."""
    litres = float(air.sum() * np.prod(spacing)) / 1e6
    if not LUNG_LITRES[0] <= litres <= LUNG_LITRES[1]:
        return f'{litres:.1f} l of lung'
    mean = float(hu[air].mean())
    if not LUNG_HU[0] <= mean <= LUNG_HU[1]:
        return f'mean of {mean:.0f} HU'
    slices = occupied(air, 0)
    height = (slices.stop - slices.start) * spacing[0]
    if height < MIN_HEIGHT_MM:
        return f'{height:.0f} mm high'
    return None


def _misplaced(air: np.ndarray, body: np.ndarray) -> str | None:
    """Why air of the right size and darkness cannot be the lungs."""
    covered = air.any((1, 2))
    fraction = float(air[covered].sum() / max(body[covered].sum(), 1))
    if fraction > MAX_BODY_FRACTION:
        return f'{fraction:.0%} of the body is air'
    for axis, name in ((1, 'y'), (2, 'x')):
        across = tuple(a for a in range(3) if a != axis)
        ends = occupied(body, axis)
        amount = air.sum(across)
        centre = (amount * np.arange(len(amount))).sum() / amount.sum()
        length = max(ends.stop - ends.start - 1, 1)
        position = (centre - ends.start) / length
        if not CENTRAL[0] <= position <= CENTRAL[1]:
            return f'air at {position:.0%} of the body along {name}'
    return None


def _open_wall(air: np.ndarray, body: np.ndarray) -> str | None:
    """Whether half of the body vanishes from one slice to the next."""
    columns = occupied(body, 2)
    middle = (columns.start + columns.stop) // 2
    covered = body[occupied(air, 0)]
    jumps = 0
    for half in (covered[..., :middle], covered[..., middle:]):
        areas = half.sum((1, 2)).astype(float)
        smaller = np.minimum(areas[1:], areas[:-1])
        larger = np.maximum(areas[1:], areas[:-1])
        whole = larger >= END_FRACTION * np.median(areas)
        jumps += int((whole & (smaller < OPEN_FRACTION * larger)).sum())
    if jumps:
        return f"the body's wall is open in some slices, at {jumps} jumps"
    return None


def doubt_of_sides(lungs: np.ndarray, body: np.ndarray) -> str | None:
    """Whether nearly all of the lung lies on one side of the body.

    Args:
        lungs: Boolean (z, y, x), closed, with solid lung.
        body: Boolean (z, y, x), filled.
    """
    columns = occupied(body, 2)
    middle = (columns.start + columns.stop) // 2
    sides = sorted([lungs[..., :middle].sum(), lungs[..., middle:].sum()])
    if sides[0] >= SMALL_LUNG * sides[1]:
        return None
    return 'one lung only; the other may be solid or absent'
