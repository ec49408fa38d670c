"""The coarse grid for segmenting body and lungs, and operations on it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungdet.geometry import Geometry
from lungdet.structures import Volume

COARSE_MM = 3.0
COARSE_HU = (-1000, 400)  # wider, metal would dominate a mean


def coarse_means(volume: Volume) -> tuple[np.ndarray, Geometry]:
    """Block means of about 3 mm, HU clipped to [-1000, 400].

    Returns:
        float32 (z, y, x), and its grid.
    """
    geometry = volume.geometry
    factors = np.maximum(np.rint(COARSE_MM / geometry.spacing), 1).astype(int)
    coarse = geometry.coarsened(factors)
    dz, dy, dx = factors
    _, y, x = np.array(coarse.shape) * factors
    blocks = np.empty(coarse.shape, dtype=np.float32)
    for k, plane in enumerate(blocks):  # no float copy of the whole volume
        slab = volume.array[k * dz : (k + 1) * dz, :y, :x]
        slab = np.clip(slab, *COARSE_HU)
        slab = slab.reshape(dz, coarse.shape[1], dy, coarse.shape[2], dx)
        plane[:] = slab.mean((0, 2, 4), dtype=np.float32)
    return blocks, coarse


def close_mask(
    mask: np.ndarray, spacing: np.ndarray, reach_mm: float
) -> np.ndarray:
    """Dilate and erode by the distances of the voxel centres.

    Args:
        mask: Boolean (z, y, x).
        spacing: mm along (z, y, x).
        reach_mm: Distance of both.

    Returns:
        Boolean (z, y, x), a superset of ``mask``.
    """
    if not mask.any():
        return mask.copy()
    reach = np.ceil(reach_mm / spacing).astype(int) + 1
    # the end slices repeat, so lungs cut by the scan do not shrink
    ends = [(reach[0], reach[0]), (0, 0), (0, 0)]
    sides = [(0, 0), (reach[1], reach[1]), (reach[2], reach[2])]
    rows = occupied(mask, 1)
    columns = occupied(mask, 2)
    part = mask[:, rows, columns]
    wide = np.pad(np.pad(part, ends, mode='edge'), sides)
    grown = ndimage.distance_transform_edt(~wide, spacing) <= reach_mm
    closed = ndimage.distance_transform_edt(grown, spacing) > reach_mm
    inner = tuple(slice(r, r + n) for r, n in zip(reach, part.shape))
    result = mask.copy()
    result[:, rows, columns] |= closed[inner]
    return result


def occupied(mask: np.ndarray, axis: int) -> slice:
    """The range of indices along an axis with nonzero voxels."""
    across = tuple(a for a in range(mask.ndim) if a != axis)
    indices = np.flatnonzero(mask.any(across))
    if not len(indices):
        return slice(0, 0)
    return slice(int(indices[0]), int(indices[-1]) + 1)


def side_faces(shape: tuple[int, ...]) -> np.ndarray:
    """Boolean (z, y, x): the outermost rows and columns of every slice."""
    sides = np.ones(shape, dtype=bool)
    sides[:, 1:-1, 1:-1] = False
    return sides


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; empty if the mask is."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return mask & (parts == sizes.argmax())
