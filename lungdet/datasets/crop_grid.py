"""The target grid of a crop.

Spatial transforms map one crop grid to another; voxels are read and
interpolated once, at the end. Image, instance mask and boxes follow from the
same grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from lungdet.geometry import Geometry
from lungdet.structures import CaseNodule, CaseRecord


@dataclass(frozen=True, eq=False)
class CropGrid:
    """Where a crop lies, and what it was chosen for.

    Attributes:
        geometry: Grid of the crop's voxels.
        fixed_point_mm: World point (x, y, z) that stays at its voxel of the
            crop when the grid is warped: the nodule, or the crop's centre.
        nodule: The nodule that the crop was chosen for, None for background.
    """

    geometry: Geometry
    fixed_point_mm: tuple[float, float, float]
    nodule: CaseNodule | None = None

    @classmethod
    def around_nodule(
        cls, geometry: Geometry, record: CaseRecord, nodule: CaseNodule
    ) -> CropGrid:
        """A crop that was chosen for a nodule.

        Args:
            geometry: Grid of the crop.
            record: The nodule's case.
            nodule: Its box, in the case's voxels, gives the fixed point.
        """
        box = np.array(nodule.box)
        # the voxel at the centre; an integer, so that a transposed crop stays
        # on the grid of the case
        center = np.floor((box[:3] + box[3:]) / 2)
        return cls(geometry, _world_point(record.geometry, center), nodule)

    @classmethod
    def of_background(cls, geometry: Geometry) -> CropGrid:
        """A crop without a nodule; its centre is fixed."""
        middle = (np.array(geometry.shape) - 1) / 2
        return cls(geometry, _world_point(geometry, middle))

    def flip(self, axes: Iterable[int]) -> CropGrid:
        """Mirrored along axes; 0, 1, 2 = z, y, x."""
        geometry = self.geometry
        for axis in axes:
            geometry = geometry.flip(axis)
        return replace(self, geometry=geometry)

    def warp(self, step: np.ndarray) -> CropGrid:
        """Rotated, scaled or transposed about the fixed point.

        Args:
            step: (3, 3), voxels of this crop (z, y, x) that one voxel of the
                new one spans, a column for each of its axes z, y, x.

        Returns:
            A crop of the same shape, whose fixed point is at the same index.
        """
        shape = self.geometry.shape
        (fixed,) = self.geometry.to_index(np.array([self.fixed_point_mm]))
        middle = (np.array(shape) - 1) / 2
        center = fixed + step @ (middle - fixed)
        return replace(
            self, geometry=self.geometry.transformed(step, center, shape)
        )


def _world_point(
    geometry: Geometry, index_zyx: np.ndarray
) -> tuple[float, float, float]:
    x, y, z = geometry.to_world(index_zyx[None])[0].tolist()
    return x, y, z
