"""Sizes, tissues and grid of one chest, before anything is rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungdet.geometry import Geometry


@dataclass(frozen=True)
class Tissues:
    """HU of each tissue; ``lumen`` is the air inside the airways."""

    air: float
    lung: float
    fat: float
    soft: float
    blood: float
    marrow: float
    cortex: float
    lumen: float


@dataclass(frozen=True)
class Body:
    """Sizes and tissues of one chest.

    Attributes:
        geometry: Grid of the scan.
        scale: Size relative to a grown man.
        height: Length of the lungs, mm.
        hu: HU of the tissues.
        noise: Standard deviation in soft tissue once resampled to 1 mm, HU.
        smooth: Outer weight, in plane, of the three-tap filter that
            correlates the noise; 0 leaves it white.
    """

    geometry: Geometry
    scale: float
    height: float
    hu: Tissues
    noise: float
    smooth: float


@dataclass(frozen=True)
class ChestShape:
    """Sizes that vary from person to person, mm unless stated.

    Attributes:
        half_width: Half the width of the body, along x.
        half_depth: Half the depth of the body, along y.
        fat: Thickness below the skin.
        lung_x: Centre of a lung from the midline.
        lung_half_width: Along x.
        lung_half_depth: Along y.
        heart_x: Centre of the heart, to the patient's left.
        heart_radius: At its widest.
        dome: Height of the diaphragm's dome.
        spine_y: Centre of the spine.
        disc_phase: Where the first disc lies between two vertebrae, 0 to 1.
    """

    half_width: float
    half_depth: float
    fat: float
    lung_x: float
    lung_half_width: float
    lung_half_depth: float
    heart_x: float
    heart_radius: float
    dome: float
    spine_y: float
    disc_phase: float


def draw_body(rng: np.random.Generator, size: str) -> Body:
    """Draw sizes, spacing, tissues and noise of a chest.

    Noise and its correlation are drawn together: sharp kernels are noisy and
    uncorrelated, smooth ones quiet and correlated.

    Args:
        rng: Source of the draws.
        size: ``'small'``, or a grown chest.
    """
    if size == 'small':
        in_plane, thickness = rng.uniform(0.74, 0.9), rng.uniform(1.5, 2.5)
        scale, height = rng.uniform(0.78, 0.88), rng.uniform(108, 124)
    else:
        in_plane, thickness = rng.uniform(0.68, 0.9), rng.uniform(1.0, 2.5)
        scale, height = rng.uniform(0.92, 1.02), rng.uniform(200, 225)
    side = int(np.ceil(2 * 168 * scale / in_plane / 16)) * 16
    slices = int(np.ceil((height + 8) / thickness))
    origin = rng.uniform((-20, -20, -400), (20, 20, -200)) - np.array(
        [side * in_plane / 2, side * in_plane / 2, 0]
    )
    noise = float(np.exp(rng.uniform(np.log(9), np.log(57))))
    kernel = (0.17, 0.23) if noise < 20 else (0.0, 0.2)
    smooth = 0.0 if noise > 38 else float(rng.uniform(*kernel))
    contrast = float(rng.choice((0.0, 1.0))) * rng.uniform(60, 180)
    return Body(
        geometry=Geometry.from_parts(
            (slices, side, side),
            spacing_zyx=(thickness, in_plane, in_plane),
            origin_xyz=np.round(origin, 3),
        ),
        scale=scale,
        height=height,
        hu=Tissues(
            air=-1000.0,
            lung=rng.uniform(-900, -835),
            fat=rng.uniform(-112, -98),
            soft=rng.uniform(38, 62),
            blood=45.0 + contrast,
            marrow=rng.uniform(180, 320),
            cortex=rng.uniform(600, 1000),
            lumen=rng.uniform(-990, -950),
        ),
        noise=noise,
        smooth=smooth,
    )


def draw_shape(rng: np.random.Generator, body: Body) -> ChestShape:
    """Draw the sizes that vary from person to person."""
    s = body.scale
    return ChestShape(
        half_width=158 * s * rng.uniform(0.96, 1.04),
        half_depth=108 * s * rng.uniform(0.95, 1.05),
        fat=12 * s * rng.uniform(0.7, 1.6),
        lung_x=73 * s,
        lung_half_width=54 * s * rng.uniform(0.96, 1.04),
        lung_half_depth=77 * s * rng.uniform(0.95, 1.05),
        heart_x=22 * s * rng.uniform(0.8, 1.2),
        heart_radius=50 * s * rng.uniform(0.9, 1.1),
        dome=rng.uniform(0.22, 0.3) * body.height,
        spine_y=62 * s,
        disc_phase=rng.uniform(0, 1),
    )
