"""Conditions that make a chest unusual and its lungs hard to segment.

Nothing here is random: a phantom without conditions does not depend on this
module, voxel for voxel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from lungdet.errors import ConfigError
from lungdet.phantom.body import ChestShape
from lungdet.phantom.chest import LEFT_LUNG, Chest
from lungdet.phantom.slices import diaphragm
from lungdet.phantom.surfaces import ellipse_distance, inside_fraction

DIAPHRAGM_MM = 5.0  # between lung and bowel gas
BOWEL_INSET_MM = 12.0  # of bowel gas from the lung's outline
THIN_WALL_MM = 1.0  # of chest wall that the groove leaves
SOLID_HEIGHT = 0.5  # of the lungs' height, from below
HEART_GROWTH = 1.5
ARM_MM, HUMERUS_MM = 38.0, 11.0  # radii


def check_conditions(conditions: Collection[str]) -> None:
    """Refuse names that are not in ``CONDITIONS``.

    Raises:
        ConfigError: Unknown condition.
    """
    for name in conditions:
        if name not in CONDITIONS:
            raise ConfigError(
                f'conditions: {name!r}; choose of {sorted(CONDITIONS)}.'
            )


def changed_shape(
    shape: ChestShape, conditions: Collection[str]
) -> ChestShape:
    """A person's sizes with these conditions."""
    if 'big_heart' in conditions:
        radius = HEART_GROWTH * shape.heart_radius
        return replace(shape, heart_radius=radius)
    return shape


def add_conditions(
    chest: Chest, shape: ChestShape, conditions: Collection[str]
) -> None:
    """Blend conditions into a chest, in the order of ``CONDITIONS``."""
    for name, add in CONDITIONS.items():
        if name in conditions and add is not None:
            add(chest, shape)


def add_bowel_gas(chest: Chest, shape: ChestShape) -> None:
    """Gas of colon and stomach that fills the domes of the diaphragm."""
    z, y, x = chest.axes
    rows, columns = y[:, None], x[None, :]
    a, b = shape.lung_half_width, shape.lung_half_depth
    for side in (-1, 1):
        from_center = columns - side * shape.lung_x
        floor = diaphragm(
            from_center, rows, (a, b), chest.body, shape, side=side
        )
        outline = ellipse_distance(
            from_center, rows - 4, a - BOWEL_INSET_MM, b - BOWEL_INSET_MM
        )
        for k, height in enumerate(z.tolist()):
            distance = np.maximum(outline, height - floor + DIAPHRAGM_MM)
            gas = inside_fraction(distance) * (1 - chest.lungs[k])
            chest.hu[k] += gas * (chest.body.hu.air - chest.hu[k])


def add_thin_wall(chest: Chest, shape: ChestShape) -> None:
    """A groove across the front that leaves hardly any wall."""
    height = 0.1 * chest.body.height
    front = 4 - shape.lung_half_depth - THIN_WALL_MM
    reach = shape.half_depth + front  # from the skin to the lung
    start = np.array([-shape.lung_x - 8, front - reach, height])
    stop = np.array([8 - shape.lung_x, front - reach, height])
    region, (z, y, x) = chest.around(start, stop, reach)
    outline = np.maximum(
        np.abs(x + shape.lung_x)[None, None, :] - 8, y[None, :, None] - front
    )
    # as thick as two slices of 3 mm
    distance = np.maximum(outline, np.abs(z - height)[:, None, None] - 3)
    groove = inside_fraction(distance) * (1 - chest.lungs[region])
    chest.add(region, groove * (chest.body.hu.air - chest.hu[region]))


def add_consolidation(chest: Chest, shape: ChestShape) -> None:
    """The lower half of the left lung without air."""
    level = (SOLID_HEIGHT - 0.5) * chest.body.height
    lower = (chest.labels == LEFT_LUNG) & (chest.axes[0] < level)[
        :, None, None
    ]
    _fill_lung(chest, level)
    chest.solid |= lower
    chest.labels[lower] = 0


def add_one_lung(chest: Chest, shape: ChestShape) -> None:
    """The left lung is absent; soft tissue fills its side."""
    _fill_lung(chest, float(chest.axes[0][-1]) + 1)
    chest.labels[chest.labels == LEFT_LUNG] = 0


def _fill_lung(chest: Chest, level: float) -> None:
    """Soft tissue in the left lung below a height, z mm."""
    z, _, x = chest.axes
    lower, left = z < level, x > 0
    part = chest.lungs[np.ix_(lower, np.ones(chest.hu.shape[1], bool), left)]
    region = np.ix_(lower, np.ones(chest.hu.shape[1], bool), left)
    chest.hu[region] += part * (chest.body.hu.soft - chest.hu[region])
    chest.lungs[region] = 0


def add_arms(chest: Chest, shape: ChestShape) -> None:
    """Arms beside the chest, cut by the field of view."""
    z, hu = chest.axes[0], chest.body.hu
    for side in (-1, 1):
        at = side * (shape.half_width + 0.6 * ARM_MM)
        for radius, value in ((ARM_MM, hu.soft), (HUMERUS_MM, hu.cortex)):
            start = np.array([at, 10.0, z[0] - radius])
            stop = np.array([at, 10.0, z[-1] + radius])
            region, distance = chest.tube_distance(
                start, stop, (radius, radius)
            )
            arm = inside_fraction(distance).mean(0)
            beyond = chest.hu[region] < hu.fat - 200
            if value == hu.cortex:
                beyond[:] = True
            chest.add(region, beyond * arm * (value - chest.hu[region]))


Draw = Callable[[Chest, ChestShape], None]
CONDITIONS: dict[str, Draw | None] = {
    'bowel_gas': add_bowel_gas,
    'thin_wall': add_thin_wall,
    'consolidation': add_consolidation,
    'one_lung': add_one_lung,
    'arms_down': add_arms,
    'big_heart': None,  # of another shape
    'tight_view': None,  # cut after rendering
}
