"""Orders and directions of array axes."""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np


class AxisOrder(NamedTuple):
    """A reordering of array axes: transpose first, then mirror.

    Attributes:
        axes: As ``numpy.transpose`` takes them.
        flips: Axes of the transposed array to mirror.

    Examples:
        An array whose x axis runs to the patient's right, towards -x.

        >>> cosines = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])
        >>> order = AxisOrder.nearest(cosines)
        >>> order
        AxisOrder(axes=(0, 1, 2), flips=(2,))
        >>> order.apply(np.array([[[1, 2, 3]]])).tolist()
        [[[3, 2, 1]]]
    """

    axes: tuple[int, int, int]
    flips: tuple[int, ...]

    @classmethod
    def nearest(cls, cosines: np.ndarray) -> AxisOrder:
        """The order in which the axes run nearest to +z, +y, +x.

        A coronal grid that is tilted a little becomes an axial one that is
        tilted as much.

        Args:
            cosines: (3, 3), columns are the unit vectors (x, y, z) of the
                index axes z, y, x.
        """
        size = np.abs(cosines)
        # world rows z, y, x = 2, 1, 0: the array axis that runs along each
        z, y, x = max(
            permutations(range(3)),
            key=lambda axes: sum(size[2 - k, axes[k]] for k in range(3)),
        )
        flips = tuple(
            k for k, axis in enumerate((z, y, x)) if cosines[2 - k, axis] < 0
        )
        return cls((z, y, x), flips)

    @property
    def changes_nothing(self) -> bool:
        """Whether the array stays as it is."""
        return self.axes == (0, 1, 2) and not self.flips

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The reordered array, a view."""
        return np.flip(array.transpose(self.axes), self.flips)
