"""The body: soft tissue, filled, even where its wall is thin or cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungdet.hounsfield import TISSUE_HU

WALL_VOXELS = 8  # coarse; how far the wall regrows where the opening cut it
BRIDGED_MM = 6.0  # in the plane: gaps in the wall that are bridged
BRIDGED_ALONG_MM = 15.0  # along the body: this many slices may lack their wall
OPEN_AIR_HU = -950  # around the body: darker than lung, except emphysema
OPEN_AIR_MEDIAN_HU = -965
PADDING_HU = -1000
FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True)
class BodyMasks:
    """The body in boolean masks (z, y, x).

    Attributes:
        inside: Everything inside the body's wall.
        to_sides: The same if the sides of the image and of the field of view
            count as a wall: larger than ``inside`` where lung touches a side.
        outside: Air around the body and padding.
    """

    inside: np.ndarray
    to_sides: np.ndarray
    outside: np.ndarray


def find_body(hu: np.ndarray, spacing: np.ndarray) -> BodyMasks:
    """Find the body.

    Args:
        hu: Coarse (z, y, x).
        spacing: mm along (z, y, x).
    """
    outside = outside_air(hu)
    tissue = _soft_tissue(hu)
    inside = _filled(tissue, spacing) & ~outside
    padding = outside & (hu <= PADDING_HU)
    border = _side_faces(hu.shape)
    border |= ndimage.binary_dilation(padding, FACES)
    dark = hu < TISSUE_HU
    around = ndimage.binary_dilation(outside, iterations=2, mask=dark)
    to_sides = _filled(tissue, spacing, border & ~outside) & ~around
    return BodyMasks(inside, inside | to_sides, outside)


def outside_air(hu: np.ndarray) -> np.ndarray:
    """Air around the body: wide dark parts that touch the image's sides."""
    dark = hu < OPEN_AIR_HU
    parts, _ = ndimage.label(ndimage.binary_erosion(dark, border_value=1))
    reaching = np.unique(parts[_side_faces(hu.shape)])
    reaching = reaching[reaching > 0]
    if not len(reaching):
        return np.zeros(hu.shape, dtype=bool)
    medians = ndimage.median(hu, parts, reaching)
    reaching = reaching[np.asarray(medians) < OPEN_AIR_MEDIAN_HU]
    return ndimage.binary_dilation(
        np.isin(parts, reaching), iterations=2, mask=dark
    )


def _soft_tissue(hu: np.ndarray) -> np.ndarray:
    """The largest piece of tissue, without the table."""
    tissue = hu >= TISSUE_HU
    body = _largest_part(ndimage.binary_opening(tissue))
    # the opening removes the table, and makes holes in a thin chest wall
    return ndimage.binary_dilation(body, iterations=WALL_VOXELS, mask=tissue)


def _side_faces(shape: tuple[int, ...]) -> np.ndarray:
    """Boolean (z, y, x): the outermost rows and columns of every slice."""
    sides = np.ones(shape, dtype=bool)
    sides[:, 1:-1, 1:-1] = False
    return sides


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; empty if the mask is."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return mask & (parts == sizes.argmax())


def _filled(
    tissue: np.ndarray, spacing: np.ndarray, wall: np.ndarray | None = None
) -> np.ndarray:
    """Tissue with its gaps bridged and its holes filled, slice by slice.

    Args:
        tissue: Boolean (z, y, x).
        spacing: mm along (z, y, x).
        wall: Additional voxels that close holes.
    """
    gap = _disk(BRIDGED_MM, spacing)
    margin = max(gap.shape)
    filled = np.zeros_like(tissue)
    for k, plane in enumerate(tissue):
        wide = ndimage.binary_closing(np.pad(plane, margin), gap)
        if wall is not None:
            wide |= np.pad(wall[k], margin)
        wide = ndimage.binary_fill_holes(wide)
        filled[k] = wide[margin:-margin, margin:-margin]
    # an odd number of slices, more than the gap that is closed
    count = 2 * (int(BRIDGED_ALONG_MM / spacing[0] + 1) // 2) + 1
    ends = np.pad(filled, ((count, count), (0, 0), (0, 0)), mode='edge')
    grown = ndimage.maximum_filter1d(ends.view(np.uint8), count, axis=0)
    closed = ndimage.minimum_filter1d(grown, count, axis=0).view(bool)
    return closed[count : len(closed) - count] | filled


def _disk(radius_mm: float, spacing: np.ndarray) -> np.ndarray:
    """Boolean (y, x) of the voxels within a radius."""
    reach = (radius_mm // spacing[1:]).astype(int)
    y, x = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    return (y * spacing[1]) ** 2 + (x * spacing[2]) ** 2 <= radius_mm**2
