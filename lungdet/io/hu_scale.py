"""Whether values are HU, or HU times a factor or plus an offset.

Air is -1000 HU and lung holds much of it, so that the darkest values of any
chest CT lie below -850 and no common value lies far below -1000. What breaks
either rule is named, with the factor or offset that would explain it.
"""

from __future__ import annotations

import numpy as np

AIR = -1000.0  # HU of air
TISSUE = (-115.0, 90.0)  # HU of fat to those of muscle and liver
DARK_PERCENT = 0.2  # of the values; less than the trachea has
DARKEST_HU = -850.0  # a chest has darker values: lung less noise, and air
# lung that is denser, as in fibrosis, needs air beside it to be told from HU
# of another scale
LUNG_MODE_HU, AIR_OF_TRACHEA_HU = -800.0, -950.0
LOWEST_MODE_HU = -1080.0  # no common value of a chest is lower
ONE_VALUE = 2.0  # range of an image on which there is nothing
BIN, SMOOTH = 10.0, np.array([1, 2, 3, 4, 3, 2, 1]) / 16.0  # of the histogram
MIN_PEAK = 0.01  # of the values within a peak
MIN_PROMINENCE = 0.5  # of a peak's height above the valleys beside it
STEPS = 0.05, 50.0  # in which factors and offsets are named


def darkest(values: np.ndarray) -> float:
    """What the darkest values of a scan are, but for outliers.

    Args:
        values: A sample without padding.
    """
    return float(np.percentile(values, DARK_PERCENT))


def doubt_of_scale(values: np.ndarray) -> str | None:
    """Why values are unlikely to be HU; None if they may be.

    Factors of about 0.9 to 1.1 and offsets of less than about 100 HU cannot be
    told from HU.

    Args:
        values: A sample without padding.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> chest = np.repeat([-1000, -850, 50], 1000)
        >>> chest = chest + rng.normal(0, 20, 3000)
        >>> doubt_of_scale(chest)
        >>> doubt_of_scale(chest / 2).partition('; ')[2]
        'they look like HU times 0.5'
        >>> doubt_of_scale(chest - 300).partition('; ')[2]
        'they look like HU minus 300'
    """
    if np.ptp(values) <= ONE_VALUE:
        return f'all are {values.min():.0f}, or nearly so'
    low, peaks = darkest(values), peaks_of(values)
    lacks_air = low > AIR_OF_TRACHEA_HU and len(peaks) > 0
    if low > DARKEST_HU or lacks_air and peaks[0] > LUNG_MODE_HU:
        reason = f'hardly any is below {low:.0f}, and air is {AIR:.0f}'
    elif len(peaks) and peaks[0] < LOWEST_MODE_HU:
        reason = f'{peaks[0]:.0f} is frequent, and air is {AIR:.0f}'
    else:
        return None
    guess = _explanation(peaks)
    return reason + (f'; they look like HU {guess}' if guess else '')


def peaks_of(values: np.ndarray) -> np.ndarray:
    """Frequent values, lowest first: peaks of the histogram.

    Args:
        values: A sample without padding.
    """
    low, high = np.floor(values.min() / BIN), np.ceil(values.max() / BIN)
    edges = np.arange(low - 3, high + 4) * BIN
    counts, _ = np.histogram(values, edges)
    curve = np.convolve(counts, SMOOTH, 'same')
    tops = [
        k
        for k in range(1, len(curve) - 1)
        if curve[k - 1] < curve[k] >= curve[k + 1]
        and counts[max(k - 3, 0) : k + 4].sum() >= MIN_PEAK * len(values)
        and _prominence(curve, k) >= MIN_PROMINENCE * curve[k]
    ]
    return edges[tops] + BIN / 2


def _prominence(curve: np.ndarray, top: int) -> float:
    """Height of a peak above the higher of the valleys beside it."""
    valleys = []
    for side in (curve[top::-1], curve[top:]):
        higher = np.flatnonzero(side > curve[top])
        valleys.append(side[: higher[0] if len(higher) else None].min())
    return float(curve[top] - max(valleys))


def _explanation(peaks: np.ndarray) -> str | None:
    """The factor or the offset that turns HU of air and tissue into peaks."""
    if len(peaks) < 2:
        return None
    air, brightest = float(peaks[0]), float(peaks[1:].max())
    (of_factor, of_offset), (low, high) = STEPS, TISSUE
    factor = round(air / AIR / of_factor) * of_factor
    if 0 < factor and factor * low <= brightest <= factor * high:
        return f'times {factor:.3g}'
    offset = round((air - AIR) / of_offset) * of_offset
    if low <= brightest - offset <= high:
        return f'{"plus" if offset > 0 else "minus"} {abs(offset):.0f}'
    return None
