"""Which stored values are Hounsfield units, and how they become int16."""

from __future__ import annotations

import numpy as np

from lungdet.errors import SeriesError
from lungdet.hounsfield import AIR_HU, HU_MIN
from lungdet.io.file_image import FileImage

BAD_FRACTION = 1e-3  # more voxels without a usable value are an error
SAMPLES = 64  # values along each axis that decide
# stored CT without its offset: no value below 0, much air near 0, bone above
MAX_AIR, MIN_BONE = 50, 500


def to_hu(
    image: FileImage, *, hu_offset: int | None = None
) -> tuple[np.ndarray, list[str]]:
    """int16 HU of an image, if its values can be HU.

    Args:
        image: As a reader returned it.
        hu_offset: Added where the values lack it; values that reach down to
            air in HU already stay as they are.

    Returns:
        int16 HU (the image's array itself where nothing had to change) and
        caveats.

    Raises:
        SeriesError: Values that are no numbers, no HU, or stored without
            their offset.
    """
    array, offset = image.array, hu_offset or 0
    if image.lacks_rescale and hu_offset is None and array.min() > AIR_HU:
        raise SeriesError(
            f'{image.where}: no RescaleSlope and RescaleIntercept in the '
            'header; if a stored 0 is -1024 HU give --hu-offset -1024.'
        )
    caveats = []
    if offset and np.percentile(_sample(array), 1) <= AIR_HU:
        caveats.append(
            f'the values are HU already; the offset {offset} was not added'
        )
        offset = 0
    hu, of_rounding = _as_int16(array, offset, image.where)
    sample = _sample(hu)
    low, first, high = sample.min(), np.percentile(sample, 1), sample.max()
    if low >= 0 and first <= MAX_AIR and high > MIN_BONE:
        raise SeriesError(
            f'{image.where}: values {low:g}..{high:g} look like CT stored '
            'without its offset; give --hu-offset -1024 if that is so.'
        )
    caveats += of_rounding
    if first > AIR_HU:
        caveats.append(
            f'values do not look like a chest in HU ({low:g}..{high:g})'
        )
    return hu, caveats


def _sample(array: np.ndarray) -> np.ndarray:
    """Some finite values, without padding where there is anything else."""
    steps = tuple(slice(None, None, max(1, n // SAMPLES)) for n in array.shape)
    values = array[steps]
    values = values[np.isfinite(values)]
    image = values[values >= HU_MIN]
    return image if image.size else np.append(values, HU_MIN)


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
