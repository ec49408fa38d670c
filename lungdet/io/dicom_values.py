"""What the stored values of a DICOM slice mean; no file is read."""

from __future__ import annotations

import numpy as np

from lungdet.errors import SeriesError
from lungdet.hounsfield import HU_MIN
from lungdet.io.dicom_headers import SliceHeader
from lungdet.io.hu_rules import BAD_FRACTION, MAX_PADDINGS

EXTENDED_HU_MIN = -4096  # where HU are seldom below, in extended scales too
LOWEST = 1 << 15  # 16 bits of the lowest signed value, a usual padding


def rescaled(stored: np.ndarray, one: SliceHeader) -> np.ndarray:
    """Stored values (rows, columns) in HU, if the header says how.

    Raises:
        SeriesError: Values that contradict the header's sign.
    """
    values = _without_spare_bits(stored, one)
    return _linear(values, one)


def with_padding(values: np.ndarray, one: SliceHeader) -> np.ndarray:
    """Values with padding below 0, where the header states it as unsigned.

    Scanners write -2000 around the image and, in a file of unsigned values,
    state it as 63536.
    """
    if one.padding is None or one.padding < 1 << 15 or one.signed:
        return values
    slope, intercept = one.slope or 1.0, one.intercept or 0.0
    if not one.has_rescale:
        slope, intercept = 1.0, 0.0
    listed = np.float32(one.padding) * np.float32(slope) + intercept
    meant = (one.padding - (1 << 16)) * slope + intercept
    return np.where(values == listed, np.float32(meant), values)


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
    stored = np.array([one.padding or 0, LOWEST], np.uint16).view(np.int16)
    padding = np.rint(_linear(stored, one))
    low = values[(values < EXTENDED_HU_MIN) & ~np.isin(values, padding)]
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
    is_padding = stored == (-1 if one.padding is None else one.padding)
    if np.mean(negative & ~is_padding) > BAD_FRACTION:
        raise SeriesError(
            f'{one.path}: values below 0, but PixelRepresentation says that '
            'values are unsigned; export the series again.'
        )
    return np.where(is_padding, stored, values)


def _check_sign(
    stored: np.ndarray, values: np.ndarray, one: SliceHeader
) -> None:
    """Refuse a sign bit that is part of the number, as of bone."""
    turned = values[values != stored].astype(np.float64)
    hu = turned * (one.slope or 1) + (one.intercept or 0)
    if np.sum(hu < HU_MIN) > BAD_FRACTION * stored.size:
        raise SeriesError(
            f'{one.path}: unsigned values of {one.bits} bits, but '
            'PixelRepresentation says that values are signed; export the '
            'series again.'
        )
