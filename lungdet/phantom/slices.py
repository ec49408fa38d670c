"""One axial slice of a chest: body wall, mediastinum, spine and lungs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lungdet.phantom.body import Body, ChestShape
from lungdet.phantom.chest import LEFT_LUNG, RIGHT_LUNG
from lungdet.phantom.surfaces import (
    EDGE_MM,
    ellipse_distance,
    inside_fraction,
)

MIN_HEART = 0.05  # of its largest radius; smaller sections are not drawn


@dataclass(frozen=True)
class ChestSlice:
    """One slice of a chest.

    Attributes:
        hu: float32 (y, x).
        lungs: float32 (y, x), fraction of lung in a voxel.
        labels: uint8 (y, x), 3 right, 4 left lung.
    """

    hu: np.ndarray
    lungs: np.ndarray
    labels: np.ndarray


class SlicePainter:
    """HU of a slice, and the ellipses blended into it.

    Args:
        hu: float32 (y, x) to start from; copied.
        y: Coordinates of the rows, mm.
        x: Coordinates of the columns, mm.
    """

    def __init__(self, hu: np.ndarray, y: np.ndarray, x: np.ndarray) -> None:
        self.hu = hu.copy()
        self.y, self.x = y, x

    def ellipse(
        self,
        center: tuple[float, float],
        half_axes: tuple[float, float],
        value: float,
        *,
        width: float = EDGE_MM,
        inset: float = 0.0,
        wall: float | None = None,
    ) -> None:
        """Blend an ellipse in.

        Args:
            center: x and y, mm.
            half_axes: Along x and y, mm.
            value: Its HU.
            width: Width of the blurred edge in mm.
            inset: How far inside the edge it ends, mm.
            wall: Thickness of a ring, mm; None fills it.
        """
        (x0, y0), (a, b) = center, half_axes
        reach = 1 + width / min(a, b)
        rows, columns = (
            slice(*np.searchsorted(axis, (c - reach * r, c + reach * r)))
            for axis, c, r in ((self.y, y0, b), (self.x, x0, a))
        )
        distance = inset + ellipse_distance(
            self.x[None, columns] - x0, self.y[rows, None] - y0, a, b
        )
        if wall is not None:
            distance = np.maximum(distance, -(distance + wall))
        part = self.hu[rows, columns]
        part += inside_fraction(distance, width) * (value - part)


def body_wall(
    y: np.ndarray, x: np.ndarray, body: Body, shape: ChestShape
) -> np.ndarray:
    """Fat, muscle and mediastinal fat, the same in every slice: HU (y, x)."""
    rows, columns = y[:, None], x[None, :]
    skin = ellipse_distance(columns, rows, shape.half_width, shape.half_depth)
    lobes = 5 * np.cos(6 * np.arctan2(rows, columns)) * body.scale
    plane = np.full(skin.shape, body.hu.air, dtype=np.float32)
    plane += inside_fraction(skin) * (body.hu.fat - plane)
    muscle = inside_fraction(skin + shape.fat + lobes, 3.0)
    plane += muscle * (body.hu.soft - plane)
    painter = SlicePainter(plane, y, x)
    middle = (26 * body.scale, 60 * body.scale)
    painter.ellipse((0.0, -5.0), middle, body.hu.fat, width=8.0)
    return painter.hu


def render_slice(
    wall: np.ndarray,
    z: float,
    y: np.ndarray,
    x: np.ndarray,
    body: Body,
    shape: ChestShape,
) -> ChestSlice:
    """Mediastinum, spine and lungs of one slice inside its body wall.

    Args:
        wall: HU (y, x) of ``body_wall``.
        z: Height of the slice, mm.
        y: Coordinates of the rows, mm.
        x: Coordinates of the columns, mm.
        body: Tissues and sizes.
        shape: Sizes of this person.
    """
    painter = SlicePainter(wall, y, x)
    _paint_mediastinum(painter, z, body, shape)
    _paint_bones(painter, z, body, shape)
    hu = painter.hu
    lungs = np.zeros(hu.shape, dtype=np.float32)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    for side, label in ((-1, RIGHT_LUNG), (1, LEFT_LUNG)):
        distance = lung_distance(
            x[None, :], y[:, None], z, body, shape, side=side
        )
        alpha = inside_fraction(distance)
        hu += alpha * (body.hu.lung - hu)
        lungs = np.maximum(lungs, alpha)
        labels[alpha > 0.5] = label
    return ChestSlice(hu, lungs, labels)


def _paint_mediastinum(
    painter: SlicePainter, z: float, body: Body, shape: ChestShape
) -> None:
    """Heart, aorta, vena cava and oesophagus."""
    s, tissue = body.scale, body.hu
    heart = heart_radius(z, body, shape)
    if heart > 0:
        painter.ellipse(
            (shape.heart_x, -22),
            (heart - 2, 0.85 * heart - 2),
            tissue.blood - 8,
            width=2.0,
        )
    painter.ellipse((16 * s, 38 * s), (11, 11), tissue.blood)
    painter.ellipse((-14 * s, -16), (9, 10), tissue.blood)
    painter.ellipse((3, 24 * s), (7, 5), tissue.soft)


def _paint_bones(
    painter: SlicePainter, z: float, body: Body, shape: ChestShape
) -> None:
    """A vertebra or a disc, the arch behind it, and the sternum."""
    s, tissue = body.scale, body.hu
    center, half_axes = (0.0, shape.spine_y), (17 * s, 15 * s)
    is_disc = ((z / 26 + shape.disc_phase) % 1) < 0.22
    outer = tissue.soft + 25 if is_disc else tissue.cortex * 0.8
    painter.ellipse(center, half_axes, outer)
    if not is_disc:
        painter.ellipse(center, half_axes, tissue.marrow, inset=1.8)
    arch = (0, shape.spine_y + 22 * s)
    painter.ellipse(arch, (14, 9), tissue.cortex * 0.7, wall=5)
    sternum = (0, shape.fat + 15 - shape.half_depth)
    painter.ellipse(sternum, (15, 5), tissue.marrow * 0.8)


def heart_radius(z: float, body: Body, shape: ChestShape) -> float:
    """Radius of the heart at a height, mm; 0 beyond its ends."""
    rise = (z + 0.18 * body.height) / (0.40 * body.height)
    cap = math.sqrt(max(1 - rise**2, 0.0))
    return shape.heart_radius * cap if cap > MIN_HEART else 0.0


def lung_distance(
    x: np.ndarray,
    y: np.ndarray,
    z: float,
    body: Body,
    shape: ChestShape,
    *,
    side: int,
) -> np.ndarray:
    """Signed distance in mm to a lung's surface, below 0 inside.

    Args:
        x: Coordinates in mm; broadcast with ``y``.
        y: Coordinates in mm.
        z: Height of the slice, mm.
        body: Sizes.
        shape: Sizes of this person.
        side: -1 for the right lung, 1 for the left.
    """
    rise = (z + body.height / 2) / body.height  # 0 at the base, 1 at the apex
    width = math.sqrt(min(max(1 - max(rise, 0.0) ** 3.2, 1e-3), 1.0))
    a = shape.lung_half_width * (0.35 + 0.65 * width)
    b = shape.lung_half_depth * (0.30 + 0.70 * width)
    center = side * (shape.lung_x - 14 * (1 - width))
    distance = ellipse_distance(x - center, y - 4, a, b)
    floor = diaphragm(x - center, y, (a, b), body, shape, side=side)
    distance = np.maximum(distance, floor - z)
    radius = heart_radius(z, body, shape)
    if radius > 0:
        heart = ellipse_distance(
            x - shape.heart_x, y + 22, radius, 0.85 * radius
        )
        distance = np.maximum(distance, -heart)
    middle = 17 * body.scale + 3 * np.cos(y / 14)
    return np.maximum(distance, middle - side * x)


def diaphragm(
    x: np.ndarray,
    y: np.ndarray,
    half_axes: tuple[float, float],
    body: Body,
    shape: ChestShape,
    *,
    side: int,
) -> np.ndarray:
    """Height of the diaphragm's surface, z mm.

    Args:
        x: Coordinates from the lung's centre in mm; broadcast with ``y``.
        y: Coordinates in mm.
        half_axes: Half axes of the lung in this slice, along x and y, in mm.
        body: Sizes.
        shape: Sizes of this person.
        side: -1 for the right lung, 1 for the left.
    """
    a, b = half_axes
    dome = shape.dome * (1.0 if side < 0 else 0.85)
    return -body.height / 2 + dome * np.clip(
        1 - (x / (1.3 * a)) ** 2 - ((y + 15) / (1.2 * b)) ** 2,
        0,
        1,
    )
