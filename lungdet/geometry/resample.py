"""Grids of a resampling; pixels are moved in ``lungdet.prepare``."""

from __future__ import annotations

import numpy as np

from lungdet.errors import GeometryError
from lungdet.geometry.affine import Geometry


def isotropic_geometry(geometry: Geometry, spacing_mm: float) -> Geometry:
    """Grid of equal spacing along the same axes, over the same edges.

    Output voxel j sits at input index (j + 0.5) / s - 0.5 with s = input
    spacing / output spacing, so the first voxels' outer edges coincide; the
    last output voxel may reach past the input by less than its size.

    Raises:
        GeometryError: A spacing that is not a positive number.
    """
    if not (np.isfinite(spacing_mm) and spacing_mm > 0):
        raise GeometryError(
            f'spacing: {spacing_mm} mm; a grid needs a positive number. '
            'Give the spacing in mm, such as 1.0.'
        )
    scale = geometry.spacing / spacing_mm
    size = np.ceil(np.array(geometry.shape) * scale - 1e-6).astype(int)
    affine = geometry.affine.copy()
    affine[:3, :3] = geometry.affine[:3, :3] / scale
    affine[:3, 3] = geometry.to_world((0.5 / scale - 0.5)[None])[0]
    return Geometry((int(size[0]), int(size[1]), int(size[2])), affine)


def axis_positions(source: Geometry, target: Geometry) -> list[np.ndarray]:
    """Source index of every target voxel along each axis (z, y, x).

    Both grids must have parallel axes.
    """
    first = source.to_index(target.origin[None])[0]
    step = target.spacing / source.spacing
    return [
        first[axis] + step[axis] * np.arange(target.shape[axis])
        for axis in range(3)
    ]
