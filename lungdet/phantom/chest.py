"""The chest as voxels, and the tubes blended into them.

Lengths are mm in a frame whose origin is the middle of the scan: x to the
patient's left, y to the back, z to the head. Edges are as soft as a scanner's
point spread; slices average over their thickness, so thin vessels are grey,
as small nodules are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lungdet.geometry import Geometry, Region
from lungdet.phantom.body import Body
from lungdet.phantom.surfaces import (
    EDGE_MM,
    capsule_distance,
    inside_fraction,
)

RIGHT_LUNG, LEFT_LUNG, TRACHEA = 3, 4, 5  # as in LUNA16's lung masks
SUBSLICES = (-0.33, 0.0, 0.33)  # samples of a slice's profile
Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Chest:
    """A chest before noise, with methods to add to it.

    Attributes:
        body: The body it was made from.
        hu: float32 (z, y, x), free of noise.
        lungs: float32 (z, y, x), fraction of lung in a voxel.
        labels: uint8 (z, y, x): 3 right lung, 4 left lung, 5 trachea.
        axes: Coordinates of the voxels along z, y, x in mm.
        vessels: (N, 7) branches of the trees: start, end (x, y, z mm) and
            radius.
        solid: Boolean (z, y, x), left lung without air; no label there.
        frame: Grid of the voxels, its points x, y, z in the chest's frame.
    """

    body: Body
    hu: np.ndarray
    lungs: np.ndarray
    labels: np.ndarray
    axes: Coordinates = field(repr=False)
    vessels: np.ndarray = field(default_factory=lambda: np.zeros((0, 7)))
    solid: np.ndarray = field(init=False, repr=False)
    frame: Geometry = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.solid = np.zeros(self.labels.shape, dtype=bool)
        self.frame = Geometry.from_parts(
            self.hu.shape,
            spacing_zyx=self.body.geometry.spacing.tolist(),
            origin_xyz=[float(axis[0]) for axis in self.axes[::-1]],
        )

    @property
    def thickness(self) -> float:
        """Height of a slice in mm."""
        return float(self.body.geometry.spacing[0])

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) x, y, z in the chest's frame to world mm, LPS."""
        return self.body.geometry.to_world(self.frame.to_index(points))

    def value_at(self, array: np.ndarray, point: np.ndarray) -> float:
        """Value of an array (z, y, x) at the voxel nearest to x, y, z mm."""
        (index,) = self.frame.to_index(point)
        last = np.array(array.shape) - 1
        index = np.clip(np.rint(index), 0, last).astype(int)
        return float(array[tuple(index)])

    def around(
        self, start: np.ndarray, stop: np.ndarray, reach: float
    ) -> tuple[Region, Coordinates]:
        """Voxels within ``reach`` mm of the box between two points.

        Args:
            start: x, y, z mm.
            stop: x, y, z mm.
            reach: mm; half a slice is added along z.

        Returns:
            Slices (z, y, x), empty outside the scan, and the voxels'
            coordinates along z, y, x in mm.
        """
        region, local = [], []
        for axis, xyz in enumerate((2, 1, 0)):
            coordinates = self.axes[axis]
            extra = reach + (self.thickness / 2 if axis == 0 else 0)
            low, high = min(start[xyz], stop[xyz]), max(start[xyz], stop[xyz])
            first = int(np.searchsorted(coordinates, low - extra))
            last = int(np.searchsorted(coordinates, high + extra))
            region.append(slice(first, last))
            local.append(coordinates[first:last])
        a, b, c = region
        z, y, x = local
        return (a, b, c), (z, y, x)

    def tube_distance(
        self,
        start: np.ndarray,
        stop: np.ndarray,
        radii: tuple[float, float],
    ) -> tuple[Region, np.ndarray]:
        """Region and signed distance to a tube with round ends.

        Args:
            start: One end, x, y, z mm.
            stop: The other end.
            radii: At both ends, mm.

        Returns:
            Slices of its region and, for each of ``SUBSLICES``,
            the signed distance: (3, d, h, w).
        """
        region, (z, y, x) = self.around(start, stop, max(radii) + EDGE_MM)
        subslices = z[None] + np.array(SUBSLICES)[:, None] * self.thickness
        local = (
            subslices[:, :, None, None] - start[2],
            y[None, None, :, None] - start[1],
            x[None, None, None, :] - start[0],
        )
        return region, capsule_distance(local, stop - start, radii)

    def add_tube(
        self,
        start: np.ndarray,
        stop: np.ndarray,
        *,
        radii: tuple[float, float],
        value: float,
        only_lung: bool = False,
    ) -> None:
        """Blend a tube of HU ``value`` in; see ``tube_distance``."""
        region, distance = self.tube_distance(start, stop, radii)
        alpha = inside_fraction(distance).mean(0)
        if only_lung:
            alpha = alpha * self.lungs[region]
        self.add(region, alpha * (value - self.hu[region]))

    def add(self, region: Region, change: np.ndarray) -> None:
        """Add a change of HU (d, h, w) in a region."""
        self.hu[region] += change.astype(np.float32)

    def lung_points(
        self, rng: np.random.Generator, num: int, label: int
    ) -> np.ndarray:
        """Random points (num, 3) x, y, z mm in a lung, jittered in voxels.

        Empty, (0, 3), if the scan does not contain that lung.
        """
        inside = np.flatnonzero((self.labels == label).ravel())
        if not len(inside):
            return np.zeros((0, 3))
        chosen = rng.choice(inside, num)
        voxels = np.stack(np.unravel_index(chosen, self.labels.shape), axis=1)
        index = voxels + rng.uniform(-0.5, 0.5, voxels.shape)
        return self.frame.to_world(index)
