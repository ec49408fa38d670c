"""Whether a table's centres lie on something like a nodule, and if not, why.

A nodule is brighter than the lung around it. By the measure used here, 984 of
985 outlined nodules of LIDC-IDRI are, but only about a quarter of centres in a
wrong frame. So a few rows tell whether a table is in this frame, and which
other one would fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lungdet.geometry import Geometry
from lungdet.hounsfield import AIR_HU
from lungdet.prepare.references import MASS_MM
from lungdet.structures import Annotation, Volume

CONTRAST_HU = 150  # of a nodule's core over the darker part around it
DARKER = 25  # percentile: a nodule may touch the pleura and vessels
AROUND_MM = (1.0, 5.0)  # from its surface
FAINT_CONTRAST_HU = 60  # least contrast, as of small subsolid nodules

# positions (n, 3) as written -> index (n, 3) in the scan's voxels
Reading = Callable[[np.ndarray], np.ndarray]


def readings(volume: Volume) -> dict[str, Reading]:
    """Frames that tables are written in by mistake, by name.

    Args:
        volume: The scan. Voxel indices are those of its file.
    """
    grid = volume.geometry
    file_grid = volume.source_geometry or grid

    def world(columns: Sequence[int], signs: Sequence[int]) -> Reading:
        return lambda p: grid.to_index(p[:, columns] * np.array(signs))

    def mirrored(axis: int) -> Reading:
        return lambda p: _mirrored(grid.to_index(p), grid, axis)

    def voxels(index: np.ndarray) -> np.ndarray:
        return grid.to_index(file_grid.to_world(index))

    return {
        'x and y with the other sign (RAS)': world([0, 1, 2], [-1, -1, 1]),
        'x with the other sign': world([0, 1, 2], [-1, 1, 1]),
        'y with the other sign': world([0, 1, 2], [1, -1, 1]),
        'z with the other sign': world([0, 1, 2], [1, 1, -1]),
        'columns in the order z, y, x': world([2, 1, 0], [1, 1, 1]),
        'columns in the order y, x, z': world([1, 0, 2], [1, 1, 1]),
        'z counted from the other end of the scan': mirrored(0),
        'x mirrored in the image': mirrored(2),
        'y mirrored in the image': mirrored(1),
        'voxels x, y, z': lambda p: voxels(p[:, ::-1]),
        'voxels z, y, x': voxels,
        'voxels x, y, z from the other end of z': lambda p: voxels(
            _mirrored(p[:, ::-1], file_grid, 0)
        ),
        'mm from the first voxel': lambda p: voxels(
            p[:, ::-1] / file_grid.spacing
        ),
    }


def _mirrored(index: np.ndarray, grid: Geometry, axis: int) -> np.ndarray:
    index = index.astype(np.float64)
    index[:, axis] = grid.shape[axis] - 1 - index[:, axis]
    return index


def brightness(
    volume: Volume, index: np.ndarray, diameters_mm: np.ndarray
) -> np.ndarray:
    """HU at the centres of nodules and around them.

    Args:
        volume: The scan.
        index: Centres (n, 3) in its voxels.
        diameters_mm: (n,).

    Returns:
        (n, 2): mean of the core, and the darker part of what lies around it;
        NaN outside the scan.
    """
    pairs = np.full((len(index), 2), np.nan)
    shape, spacing = np.array(volume.geometry.shape), volume.geometry.spacing
    for pair, center, radius in zip(pairs, index, diameters_mm / 2):
        if not ((center >= -0.5) & (center <= shape - 0.5)).all():
            continue
        reach = (radius + AROUND_MM[1]) / spacing
        low = np.maximum(np.floor(center - reach), 0).astype(int)
        high = np.minimum(np.ceil(center + reach) + 1, shape).astype(int)
        region = tuple(map(slice, low, high))
        offsets = np.ix_(
            *(
                (np.arange(first, last) - middle) * step
                for first, last, middle, step in zip(
                    low, high, center, spacing
                )
            )
        )
        distance = np.sqrt(sum(offset**2 for offset in offsets))
        hu = volume.array[region]
        core = distance <= max(radius / 2, distance.min() + 0.01)
        around = distance > radius + AROUND_MM[0]
        around &= distance <= radius + AROUND_MM[1]
        if around.any():
            pair[:] = hu[core].mean(), np.percentile(hu[around], DARKER)
    return pairs


def nodule_like(
    volume: Volume, index: np.ndarray, diameters_mm: np.ndarray
) -> np.ndarray:
    """Which positions (n,) are brighter than what lies around them."""
    core, around = brightness(volume, index, diameters_mm).T
    return core > around + CONTRAST_HU  # False where they are unknown


def count_fits(
    volume: Volume, annotations: Sequence[Annotation]
) -> tuple[int, int, dict[str, int]]:
    """How many centres lie on something like a nodule.

    Args:
        volume: The scan.
        annotations: Rows of a table; those over 40 mm are left out.

    Returns:
        How many were tried, how many fit as they are, and how many in each
        of the ``readings``.
    """
    tried = [a for a in annotations if 0 < _diameter(a) <= MASS_MM]
    if not tried:
        return 0, 0, {}
    points = np.array([a.center_mm for a in tried], dtype=np.float64)
    sizes = np.array([_diameter(a) for a in tried])

    def number(index: np.ndarray) -> int:
        return int(nodule_like(volume, index, sizes).sum())

    return (
        len(tried),
        number(volume.geometry.to_index(points)),
        {
            name: number(read(points))
            for name, read in readings(volume).items()
        },
    )


def in_air(volume: Volume, annotations: Sequence[Annotation]) -> list[str]:
    """A caveat for each centre that lies in air and is not brighter than its
    surroundings.

    Args:
        volume: The scan.
        annotations: Its nodules.
    """
    if not annotations:
        return []
    points = np.array([a.center_mm for a in annotations], dtype=np.float64)
    sizes = np.array([min(_diameter(a), MASS_MM) for a in annotations])
    index = volume.geometry.to_index(points)
    caveats = []
    for number, (core, around) in enumerate(
        brightness(volume, index, sizes), start=1
    ):
        if core < AIR_HU and core <= around + FAINT_CONTRAST_HU:
            x, y, z = annotations[number - 1].center_mm
            caveats.append(
                f'nodule {number} at ({x:g}, {y:g}, {z:g}) mm lies in air '
                f'({core:.0f} HU) and nothing there is brighter than its '
                'surroundings; is the table of this scan and in LPS?'
            )
    return caveats


def _diameter(annotation: Annotation) -> float:
    return annotation.diameter_mm or 0.0
