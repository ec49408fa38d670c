"""Left and right lung, and thirds of their height, for points of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungdet.geometry import Geometry, occupied
from lungdet.prepare.lung_field import LungField

FINE_MM = 2.0  # given masks are subsampled to about this spacing
DEPTHS_MM = np.arange(0.0, 31.0, 2.0)  # erosions, until two lungs come apart
MAX_REST = 0.1  # fraction of the eroded voxels that may lie in neither lung
MIN_SIDE = 0.1  # of the larger lung
MIN_ACROSS = 0.7  # cosine between the line joining the lungs and left-right
RIGHT, LEFT = 1, 2
ZONES = ('lower', 'middle', 'upper')


@dataclass(frozen=True, eq=False)
class LungSides:
    """Which lung each point is in, or nearest to.

    Attributes:
        nearest: (z, y, x), ``RIGHT`` or ``LEFT``, the nearer lung of every
            voxel of ``geometry``.
        geometry: Grid around the lungs.
        heights_mm: World z of the lowest and the highest voxel of each lung.
    """

    nearest: np.ndarray
    geometry: Geometry
    heights_mm: Mapping[int, tuple[float, float]]

    def side_and_zone(
        self, center_mm: tuple[float, float, float]
    ) -> tuple[str, str]:
        """``'left'`` or ``'right'``; ``'upper'``, ``'middle'`` or ``'lower'``.

        Args:
            center_mm: World (x, y, z), in the lungs or near them.
        """
        index = np.rint(self.geometry.to_index([center_mm])[0]).astype(int)
        inside = np.clip(index, 0, np.array(self.nearest.shape) - 1)
        lung = int(self.nearest[tuple(inside)])
        low, high = self.heights_mm[lung]
        third = int(3 * (center_mm[2] - low) / max(high - low, 1e-6))
        zone = ZONES[min(max(third, 0), 2)]
        return ('left' if lung == LEFT else 'right'), zone


def find_sides(lungs: LungField) -> LungSides | None:
    """Tell the two lungs apart; None if they were not found or do not
    separate.

    A given mask may number them. Where it does not, or a number is a mere
    speck, the mask is eroded until two parts hold nearly all of it. The left
    lung is the one at larger world x (LPS).

    Args:
        lungs: As returned by ``find_lungs`` or ``lungs_of_scan``.
    """
    if lungs.source == 'failed' or not lungs.mask.any():
        return None
    numbers = lungs.mask if lungs.numbers is None else lungs.numbers
    step = np.maximum(np.rint(FINE_MM / lungs.geometry.spacing), 1).astype(int)
    numbers = numbers[:: step[0], :: step[1], :: step[2]]
    if not numbers.any():  # too thin for the step
        return None
    grid = lungs.geometry.mapped(np.diag(step), np.zeros(3), numbers.shape)
    box = tuple(occupied(numbers > 0, axis) for axis in range(3))
    numbers = np.ascontiguousarray(numbers[box])
    grid = grid.crop([part.start for part in box], numbers.shape)
    cores = numbers if _are_two(numbers) else _cores(numbers > 0, grid)
    if cores is None:
        return None
    first, second = np.unique(cores[cores > 0])
    a, b = (_world(cores == value, grid).mean(0) for value in (first, second))
    across = abs(a[0] - b[0]) / np.linalg.norm(a - b)
    if across < MIN_ACROSS:
        return None
    left = first if a[0] > b[0] else second
    indices = ndimage.distance_transform_edt(
        cores == 0,
        sampling=grid.spacing,
        return_distances=False,
        return_indices=True,
    )
    nearest = np.where(cores[tuple(indices)] == left, LEFT, RIGHT)
    heights = {}
    for lung in (RIGHT, LEFT):
        z = _world((nearest == lung) & (numbers > 0), grid)[:, 2]
        heights[lung] = (float(z.min()), float(z.max()))
    return LungSides(nearest.astype(np.uint8), grid, heights)


def _are_two(numbers: np.ndarray) -> bool:
    """Whether there are two numbers, and neither is a speck."""
    sizes = np.unique(numbers[numbers > 0], return_counts=True)[1]
    return len(sizes) == 2 and sizes.min() >= MIN_SIDE * sizes.max()


def _cores(mask: np.ndarray, grid: Geometry) -> np.ndarray | None:
    """1 and 2 in the two parts of an eroded mask; None if there are not two.

    Args:
        mask: Boolean (z, y, x) on ``grid``.
        grid: Its grid.
    """
    depth = ndimage.distance_transform_edt(
        np.pad(mask, 1), sampling=grid.spacing
    )[1:-1, 1:-1, 1:-1]
    for threshold in DEPTHS_MM:
        parts, count = ndimage.label(depth > threshold)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        order = np.argsort(-sizes)
        if count < 2:
            continue
        larger, smaller = sizes[order[:2]]
        rest = sizes.sum() - larger - smaller
        if smaller >= MIN_SIDE * larger and rest <= MAX_REST * sizes.sum():
            cores = np.zeros(mask.shape, np.uint8)
            cores[parts == order[0] + 1] = 1
            cores[parts == order[1] + 1] = 2
            return cores
    return None


def _world(mask: np.ndarray, grid: Geometry) -> np.ndarray:
    """World points (N, 3) of a mask's voxels."""
    return grid.to_world(np.argwhere(mask))
