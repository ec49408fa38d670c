"""What the stored values of a DICOM slice mean; no file is read."""

from __future__ import annotations

import numpy as np

from lungdet.errors import SeriesError
from lungdet.hounsfield import HU_MAX, HU_MIN
from lungdet.io.dicom_headers import SIGN_BIT, SliceHeader
from lungdet.io.hu_rules import BAD_FRACTION, MAX_PADDINGS

EXTENDED_HU_MIN = -4096  # where HU are seldom below, in extended scales too


def rescaled(stored: np.ndarray, one: SliceHeader) -> np.ndarray:
    """Stored values (rows, columns) in HU, if the header says how.

    Raises:
        SeriesError: Values that contradict the header's sign.
    """
    values = _without_spare_bits(stored, one)
    return _linear(values, one)


def with_padding(values: np.ndarray, one: SliceHeader) -> np.ndarray:
    """Values with padding below those of air, where the header states it.

    Scanners write -2000 around the image and, in a file of unsigned values,
    state it as 63536. Where a range is stated, all of it becomes ``HU_MIN``; a
    lone value among the HU of tissue is left alone, because it is often wrong.
    """
    if one.padding_range is None:
        return values
    step = np.float32(one.slope if one.has_rescale else 1)
    low, high = _linear(np.array(one.padding_range), one)
    is_padding = (values > low - step / 2) & (values < high + step / 2)
    if one.padding_range[0] >= SIGN_BIT:  # of unsigned values only
        values = np.where(is_padding, values - (1 << 16) * step, values)
    if not one.has_rescale:
        return values
    if one.padding_limit is None:
        is_padding &= values > HU_MAX
    return np.where(is_padding, HU_MIN, values)


def below_any_hu(values: np.ndarray, one: SliceHeader) -> int:
    """Number of values of a signed slice that are neither HU nor padding.

    Padding is what the header names, the lowest value of 16 bits, and a few
    values that stand alone; unsigned values read as signed are many.

    Args:
        values: Rounded values in HU, as stored where the header does not
            say how to rescale them.
        one: Header of the slice.
    """
    if not one.signed:
        return 0
    low = values[values < EXTENDED_HU_MIN]
    if one.padding_range is not None:
        first, last = np.rint(_linear(np.array(one.padding_range), one))
        low = low[(low < first) | (low > last)]
    low = low[low != np.rint(_linear(np.array(-SIGN_BIT), one))]
    return low.size if len(np.unique(low)) > MAX_PADDINGS else 0


def _linear(values: np.ndarray, one: SliceHeader) -> np.ndarray:
    if not one.has_rescale:
        return values
    return values * np.float32(one.slope) + np.float32(one.intercept)


def _without_spare_bits(stored: np.ndarray, one: SliceHeader) -> np.ndarray:
    """Stored values of the bits that are used; others may hold overlays.

    Raises:
        SeriesError: Spare bits that continue a sign, in a file of unsigned
            values.
    """
    spare = 16 - (one.bits or 16)
    if not spare:
        return stored
    values = (stored << spare) >> spare
    if one.signed:
        _check_sign(stored, values, one)
        return values
    if spare < 2:
        return values
    negative = (stored >> (16 - spare)) == (1 << spare) - 1
    first, last = one.padding_range or (-1, -1)
    is_padding = (stored >= first) & (stored <= last)
    if np.mean(negative & ~is_padding) > BAD_FRACTION:
        raise SeriesError(
            f'{one.path}: values below 0, but PixelRepresentation says that '
            'values are unsigned; export the series again.'
        )
    return np.where(is_padding, stored, values)


def _check_sign(
    stored: np.ndarray, values: np.ndarray, one: SliceHeader
) -> None:
    """Refuse a sign bit that is part of the number, as of bone.

    A scanner may leave the spare bits of negative values empty, such as of
    air's noise below -1024 HU: then few of these values are so low.
    """
    turned = values[values != stored].astype(np.float64)
    hu = turned * (one.slope or 1) + (one.intercept or 0)
    low = np.sum(hu < HU_MIN)
    if low > max(BAD_FRACTION * stored.size, turned.size / 2):
        raise SeriesError(
            f'{one.path}: unsigned values of {one.bits} bits, but '
            'PixelRepresentation says that values are signed; export the '
            'series again.'
        )
