"""Checks that stored values are Hounsfield units; converts them to int16."""

from __future__ import annotations

import numpy as np

from lungdet.errors import SeriesError
from lungdet.hounsfield import HU_MIN
from lungdet.io.file_image import FileImage
from lungdet.io.hu_scale import DARKEST_HU, darkest, doubt_of_scale

BAD_FRACTION = 1e-3  # a larger fraction of unusable voxels is an error
SAMPLES = 64  # samples along each axis that are checked
# stored CT without its offset: much air near 0, bone above
MAX_AIR, MIN_BONE = 50, 500
PADDING_GAP = 100  # HU between padding and the next value of the image
MAX_PADDINGS = 3  # different padding values
# resampling interpolates between padding and image: so many may lie in that
# gap, as a fraction of the padding, and padding itself may be this much higher
MAX_IN_GAP, TRUNCATED = 0.05, 1
NO_AIR_HU = -200  # no chest in HU has its lowest values above
# HU times 10 and the like: more values are lower than any in a CT
BELOW_ALL_HU, MAX_BELOW = -1500, 0.05
ONLY_AIR_HU = -950  # lung has higher values, vessels and walls much
GREY = 255  # highest value of 8 bits


def to_hu(
    image: FileImage, *, hu_offset: int | None = None
) -> tuple[np.ndarray, list[str]]:
    """int16 HU of an image, if its values are plausible HU.

    Args:
        image: As a loader returned it.
        hu_offset: Added if the values lack it; values that already reach down
            to air in HU are not changed.

    Returns:
        int16 HU (the same array if nothing had to change) and caveats.

    Raises:
        SeriesError: Values that are not numbers, not HU, of nothing but
            air, or stored without their offset.
    """
    array, offset = image.array, hu_offset or 0
    has_air = darkest(_sample(array)) <= DARKEST_HU
    if image.lacks_rescale and hu_offset is None and not has_air:
        raise SeriesError(
            f'{image.where}: no RescaleSlope and RescaleIntercept in the '
            'header; if a stored 0 is -1024 HU give --hu-offset -1024.'
        )
    caveats = []
    if offset and has_air:
        caveats.append(
            f'the values are HU already; the offset {offset} was not added'
        )
        offset = 0
    hu, of_rounding = _as_int16(array, offset, image.where)
    sample = _sample(hu)
    low, high = sample.min(), sample.max()
    if reason := _why_not_hu(sample):
        raise SeriesError(f'{image.where}: values {low:g}..{high:g} {reason}')
    if high <= ONLY_AIR_HU and hu.max() <= ONLY_AIR_HU:
        raise SeriesError(
            f'{image.where}: values {low:g}..{high:g} are those of air '
            'alone; there is no chest on the image. Export it again.'
        )
    caveats += of_rounding
    if (doubt := doubt_of_scale(sample)) is not None:
        caveats.append(
            f'values {low:g}..{high:g} do not look like a chest in HU: {doubt}'
        )
    return hu, caveats


def _why_not_hu(sample: np.ndarray) -> str | None:
    """What values without padding seem to be if not HU of a chest."""
    first, high = np.percentile(sample, 1), sample.max()
    if np.mean(sample < BELOW_ALL_HU) > MAX_BELOW:
        return (
            'are not HU, in which air is -1000; they look like HU times 10 '
            'or another scale. Export the image again, in HU.'
        )
    if first <= NO_AIR_HU:
        return None
    if first >= 0 and first <= MAX_AIR and high > MIN_BONE:
        return (
            'look like CT stored without its offset; give --hu-offset -1024 '
            'if that is so.'
        )
    remedy = 'Export the image again, in HU'
    if high - first <= 2:
        what = 'they were scaled to 0..1, or are one value'
    elif first >= 0 and high <= GREY:
        what = 'they look like grey values of 8 bits'
    else:
        what = 'there is no air among them'
        if first >= 0:
            remedy += ', or give --hu-offset -1024 if they were stored '
            remedy += 'without their offset'
    return f'do not look like a chest in HU: {what}. {remedy}.'


def _sample(array: np.ndarray) -> np.ndarray:
    """A sample of finite values, without padding if there is anything else.

    Padding is a value at or below -1024 that a gap, in which there is little,
    separates from the values of the image.
    """
    steps = tuple(slice(None, None, max(1, n // SAMPLES)) for n in array.shape)
    with np.errstate(over='ignore'):
        values = array[steps].astype(np.float32).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return np.array([HU_MIN], np.float32)
    distinct, counts = np.unique(values, return_counts=True)
    first = 0  # of the image
    for _ in range(MAX_PADDINGS):
        low = distinct[first]
        above = int(np.searchsorted(distinct, low + TRUNCATED, 'right'))
        end = np.searchsorted(distinct, low + PADDING_GAP)
        in_gap, padding = counts[above:end].sum(), counts[first:above].sum()
        if low > HU_MIN or in_gap > MAX_IN_GAP * padding:
            break
        if above == len(distinct):
            break  # nothing else
        first = above
    return values[values >= distinct[first]]


def _as_int16(
    array: np.ndarray, offset: int, where: str
) -> tuple[np.ndarray, list[str]]:
    """Values rounded and shifted, and caveats.

    Plane by plane, because a float copy of a whole scan is large.
    """
    if array.dtype == np.int16 and not offset:
        return array, []
    limits = np.iinfo(np.int16)
    hu = np.empty(array.shape, dtype=np.int16)
    missing = beyond = 0
    for plane, values in zip(hu, array):
        values = np.rint(values.astype(np.float64) + offset)
        absent = ~np.isfinite(values)
        values[absent] = HU_MIN
        missing += int(absent.sum())
        plane[:] = np.clip(values, limits.min, limits.max)
        beyond += int((plane != values).sum())
    caveats = []
    for count, what, became in (
        (missing, 'were not numbers', f'{HU_MIN} HU'),
        (beyond, 'exceed 16 bits', 'the nearest 16-bit value'),
    ):
        if count > BAD_FRACTION * array.size:
            raise SeriesError(
                f'{where}: {count} of {array.size} voxels {what}; they are '
                'not HU. Export the image again, in HU.'
            )
        if count:
            caveats.append(f'{count} voxels {what} and became {became}')
    return hu, caveats
