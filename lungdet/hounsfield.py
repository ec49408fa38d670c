"""Hounsfield units: the stored range, and HU windows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

HU_MIN, HU_MAX = -1024, 3071  # range of a 12-bit CT; below it is padding
AIR_HU = -500  # air is below it, ground glass above
TISSUE_HU = -400  # half-way from lung to soft tissue


class Window(NamedTuple):
    """An interval of HU that is mapped linearly to [0, 1] and clipped.

    Attributes:
        low: HU that becomes 0.
        high: HU that becomes 1.

    Examples:
        >>> Window(-1200, 600).normalize(np.array([-2000, -300, 600]))
        array([0. , 0.5, 1. ], dtype=float32)
    """

    low: float
    high: float

    def normalize(self, hu: Any) -> Any:
        """Normalized intensity of HU.

        Args:
            hu: numpy array or torch tensor of any type and shape.

        Returns:
            float32 in [0, 1]; an array or a tensor, like ``hu``.
        """
        low, high = self
        if isinstance(hu, np.ndarray):
            intensity = (hu.astype(np.float32) - low) / (high - low)
            return np.clip(intensity, 0, 1, out=intensity)
        return ((hu.float() - low) / (high - low)).clamp_(0, 1)


LUNG_WINDOW = Window(-1200, 600)  # of the published detector
READING_WINDOW = Window(-1350, 150)  # level -600, width 1500: for viewers
