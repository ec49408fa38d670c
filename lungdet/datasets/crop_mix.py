"""How many crops of each kind an epoch has, and how often nodules are
shown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lungdet.errors import ConfigError

CROP_KINDS = ('nodule', 'mined', 'lung', 'inserted', 'anywhere')


def check_crops(crops: Mapping[str, int], background_ratio: float) -> None:
    """Refuse a mix that cannot be drawn.

    Args:
        crops: Crops of an epoch by kind.
        background_ratio: The other way to set the number of background crops.

    Raises:
        ConfigError: An unknown kind, a number of crops that is not a whole
            number of 0 or more, no crop at all, or a ``background_ratio`` as
            well.
    """
    if background_ratio:
        raise ConfigError(
            f'background_ratio: {background_ratio}, but crops says how many '
            'crops of each kind there are; leave one of them out.'
        )
    for kind, count in crops.items():
        if kind not in CROP_KINDS:
            raise ConfigError(
                f'crops: {kind!r} is not a kind of crop; choose among '
                f'{", ".join(CROP_KINDS)}.'
            )
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ConfigError(
                f'crops.{kind}: {count!r}; give the number of crops of an '
                'epoch, a whole number of 0 or more.'
            )
    if not sum(crops.values()):
        raise ConfigError('crops: an epoch without a crop; give some.')


def nodule_weights(
    diameters_mm: np.ndarray, size_weighting: float
) -> np.ndarray:
    """How often each nodule is shown.

    Half of LUNA16's nodules are smaller than 6.5 mm and only a tenth larger
    than 15, so a detector that is shown each of them equally often rarely sees
    a large one.

    Args:
        diameters_mm: (n,), each > 0.
        size_weighting: Fraction of the draws that are even over sizes (half
            octaves of the diameter) instead of over nodules.

    Returns:
        Probabilities (n,).

    Raises:
        ConfigError: ``size_weighting`` is not a fraction.

    Examples:
        >>> nodule_weights(np.array([5.0, 5.1, 5.2, 20.0]), 0.0).tolist()
        [0.25, 0.25, 0.25, 0.25]
        >>> nodule_weights(np.array([5.0, 5.1, 5.2, 20.0]), 1.0).round(2)
        array([0.17, 0.17, 0.17, 0.5 ])
    """
    if not 0 <= size_weighting <= 1:
        raise ConfigError(
            f'size_weighting: {size_weighting}; give a fraction, 0 to 1.'
        )
    if not len(diameters_mm):
        return np.zeros(0)
    half_octave = np.floor(2 * np.log2(diameters_mm))
    _, size, count = np.unique(
        half_octave, return_inverse=True, return_counts=True
    )
    by_size = 1 / (len(count) * count[size])
    by_nodule = 1 / len(diameters_mm)
    return size_weighting * by_size + (1 - size_weighting) * by_nodule
