"""Which air inside the body is lung: not the airway, not bowel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungdet.hounsfield import TISSUE_HU
from lungdet.prepare.airway import find_airway
from lungdet.prepare.body_mask import BodyMasks
from lungdet.prepare.closing import close_mask

MIN_PART_ML = 80.0  # smaller parts are bowel, oesophagus, trachea
MAX_PARTS = 8  # parts that are checked, the largest first
SMALL = 0.1  # of the largest part; a smaller one is bowel
GAS_HU = -930.0  # median of a part that is gas and not lung
GAS_STD = 90.0
MIN_CORE = 20  # voxels
GAS_SIZE = 0.5  # of the largest part; emphysema may be as dark as gas
CLOSING_MM = 12.0  # closing includes vessels, hilum and nodules at the pleura
MORE_LUNG = 0.05  # of the lungs: how much more of it opens the question
LUNG_MEDIAN_HU = (-905.0, -600.0)  # of lung at the image's sides
LUNG_SPREAD_HU = 125.0
LUNG_DARKEST_HU = -940.0  # 10th percentile; outside air is darker
OUTSIDE_FRACTION = 0.3  # more dark air next to so little lung is doubtful


class LungParts(NamedTuple):
    """Air of the lungs, not yet closed.

    Attributes:
        air: Boolean (z, y, x).
        closed: With vessels, hilum and nodules at the pleura.
        doubt: Why it may be wrong, None if it is not doubtful.
        caveats: Decisions that the scan alone does not settle.
    """

    air: np.ndarray
    closed: np.ndarray
    doubt: str | None = None
    caveats: tuple[str, ...] = ()


def find_lung_parts(
    hu: np.ndarray, body: BodyMasks, spacing: np.ndarray
) -> LungParts:
    """The two lungs without trachea, main bronchi and bowel.

    Args:
        hu: Coarse (z, y, x).
        body: Where the body is.
        spacing: mm along (z, y, x).
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    airway = find_airway(hu, body.inside, spacing)
    blocked = ndimage.binary_dilation(airway)  # with a voxel of wall
    dark = (hu < TISSUE_HU) & ~blocked
    air, bright_ml = _lung_air(hu, dark & body.inside, voxel_ml)
    doubt, reach = None, body.inside
    caveats: tuple[str, ...] = ()
    more = _lung_at_sides(hu, dark & body.to_sides, voxel_ml)
    extra = ndimage.binary_opening(more & ~air)
    if extra.sum() > MORE_LUNG * air.sum():
        doubt = _doubt_of_sides(hu, extra, air, voxel_ml)
        if doubt is None and _is_lung(hu[extra]):
            air, reach = air | more, body.to_sides
            bright_ml = 0.0
            caveats = (
                'the lungs reach the sides of the field of view or a gap in '
                'the wall; what lies beyond is not searched',
            )
    if bright_ml:
        caveats += (
            f'{bright_ml:.0f} ml of air as bright as lung were left out as '
            'too small beside the lungs',
        )
    closed = close_mask(air, spacing, CLOSING_MM) & reach
    return LungParts(air, closed, doubt, caveats)


def _lung_air(
    hu: np.ndarray, air: np.ndarray, voxel_ml: float
) -> tuple[np.ndarray, float]:
    """Parts of air that are lung, by size and darkness.

    Returns:
        Their mask, and ml of the parts that are too small but not as dark as
        bowel gas.
    """
    parts, num = ndimage.label(air)
    volumes = np.bincount(parts.ravel(), minlength=num + 1) * voxel_ml
    volumes[0] = 0
    order = np.argsort(-volumes)[:MAX_PARTS]
    lungs, bright_ml = [], 0.0
    for part in order:
        volume, largest = volumes[part], volumes[order[0]]
        if volume < MIN_PART_ML:
            break
        is_small = volume < SMALL * largest
        values = _core_values(hu, parts == part)
        median = float(np.median(values))
        is_gas = median < GAS_HU and float(values.std()) < GAS_STD
        if is_small and median > LUNG_MEDIAN_HU[0]:
            bright_ml += volume
        elif not is_small and not (is_gas and volume < GAS_SIZE * largest):
            lungs.append(part)
    return np.isin(parts, lungs), float(bright_ml)


def _core_values(hu: np.ndarray, part: np.ndarray) -> np.ndarray:
    """HU of a part without its rim, which the wall brightens."""
    core = ndimage.binary_erosion(part)
    return hu[core if core.sum() > MIN_CORE else part]


def _lung_at_sides(
    hu: np.ndarray, air: np.ndarray, voxel_ml: float
) -> np.ndarray:
    """Lung if the sides of the image count as a wall, without thin bridges."""
    opened = ndimage.binary_opening(air)
    lungs, _ = _lung_air(hu, opened, voxel_ml)
    return ndimage.binary_dilation(lungs, mask=air)


def _is_lung(values: np.ndarray) -> bool:
    low, high = LUNG_MEDIAN_HU
    return (
        low <= float(np.median(values)) <= high
        and float(values.std()) <= LUNG_SPREAD_HU
        and float(np.percentile(values, 10)) > LUNG_DARKEST_HU
    )


def _doubt_of_sides(
    hu: np.ndarray,
    extra: np.ndarray,
    air: np.ndarray,
    voxel_ml: float,
) -> str | None:
    """Why air at the sides makes the extent of the lungs uncertain."""
    amount = f'{extra.sum() * voxel_ml:.0f} ml of air'
    if _is_lung(hu[extra]):
        return None
    dark = float(np.median(hu[extra])) < LUNG_MEDIAN_HU[0]
    if dark and extra.sum() < OUTSIDE_FRACTION * air.sum():
        return None  # air outside, in a corner of the image
    return f'{amount} at the sides of the image may be lung or air outside'
