"""Orders and directions of array axes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class AxisOrder(NamedTuple):
    """A reordering of array axes: transpose first, then mirror.

    Attributes:
        axes: As ``numpy.transpose`` takes them.
        flips: Axes of the transposed array to mirror.
    """

    axes: tuple[int, int, int]
    flips: tuple[int, ...]

    @property
    def changes_nothing(self) -> bool:
        """Whether the array stays as it is."""
        return self.axes == (0, 1, 2) and not self.flips

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The reordered array, a view."""
        return np.flip(array.transpose(self.axes), self.flips)
