"""One insertion: what, where, how it is turned, and its rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from lungdet.geometry import Region, sphere_diameter
from lungdet.insertion.blend import Profile, blend_tissue
from lungdet.insertion.donor import Donor

CELLS = 24  # of a shape along its longest axis, before the scan's blur
MIN_STEP_MM = 0.35
BLUR_MM = 2.0  # drawn around a shape, besides a slice and a half
FIRST_WEIGHT = 0.004  # least weight of a voxel that is changed


@dataclass(frozen=True)
class Placement:
    """One insertion as drawn; plain values.

    Attributes:
        kind: ``'nodule'``, or ``'sham'`` for a negative.
        source: ``'library'``, ``'parametric'`` or ``'scan'``.
        site: One of ``SITES``.
        center: Index (z, y, x) in the crop.
        angle: In the axial plane, radians.
        flip_z: Whether it is mirrored along z.
        scale: Magnification.
        psf_mm: Sigma of the point spread.
        index: Index of a library's nodule.
        seed: Seed of a parametric nodule.
        size_mm: Diameter of a parametric nodule, radius of a piece of scan.
        cut: Voxel (z, y, x) of the crop that a piece is cut out around.
        noise: How much of the crop's noise stays; see ``tissue_noise``.
    """

    kind: str
    source: str
    site: str
    center: Sequence[float]
    angle: float = 0.0
    flip_z: bool = False
    scale: float = 1.0
    psf_mm: float = 0.6
    index: int = -1
    seed: int = 0
    size_mm: float = 0.0
    cut: Sequence[int] = (0, 0, 0)
    noise: float = 1.0


@dataclass(frozen=True, eq=False)
class Insertion:
    """A shape on the grid of a crop.

    Attributes:
        region: Region of the crop.
        alpha: Fraction of each voxel of the region inside, blurred, float32.
        tissue: HU inside, float32.
        inside: The voxels inside, without blur, bool.
        volume_mm3: Volume of the shape without blur, in mm3.
        noise: As of the placement.
    """

    region: Region
    alpha: np.ndarray
    tissue: np.ndarray
    inside: np.ndarray
    volume_mm3: float
    noise: float = 1.0

    @property
    def diameter_mm(self) -> float:
        """Diameter of the sphere of equal volume."""
        return sphere_diameter(self.volume_mm3)

    def blended(self, part: np.ndarray) -> np.ndarray:
        """The region of an image, float32, with the insertion in it."""
        return blend_tissue(part, self.alpha, self.tissue, self.noise)


def render_insertion(
    donor: Donor,
    placement: Placement,
    shape: Sequence[int],
    spacing: np.ndarray,
    profiles: Sequence[Profile],
) -> Insertion:
    """Turn a donor and blur it as the scan would.

    Args:
        donor: What.
        placement: Where and how.
        shape: Voxels of the crop (z, y, x).
        spacing: Spacing of the crop in mm.
        profiles: Profiles of its axes; see ``scan_profiles``.
    """
    to_donor = _turn(placement)
    half = _reach(donor, placement.scale)
    step = max(MIN_STEP_MM, 2 * float(half.max()) / CELLS)
    cells = [np.arange(-n, n + 1) * step for n in np.ceil(half / step)]
    grid = np.stack(np.meshgrid(*cells, indexing='ij'))
    solid = _sample(donor.level, donor, to_donor, grid) > 0.5
    center_mm = np.array(placement.center) * spacing
    region, axes = _region(center_mm, half, shape, spacing, profiles)
    alpha = solid.astype(np.float32)
    for axis, (profile, at) in enumerate(zip(profiles, axes)):
        operator = profile.operator(at, center_mm[axis] + cells[axis])
        alpha = np.moveaxis(
            np.tensordot(operator, alpha, axes=(1, axis)), 0, axis
        )
    touched = np.nonzero(alpha >= FIRST_WEIGHT)
    offsets = np.stack(
        [
            at[index] - middle
            for at, index, middle in zip(axes, touched, center_mm)
        ]
    )
    weights = np.clip(alpha[touched], 0, 1)
    alpha, tissue = np.zeros((2, *alpha.shape), dtype=np.float32)
    inside = np.zeros(alpha.shape, dtype=bool)
    alpha[touched] = weights
    tissue[touched] = _sample(donor.tissue, donor, to_donor, offsets)
    inside[touched] = _sample(donor.level, donor, to_donor, offsets) > 0.5
    volume = float(solid.sum()) * step**3
    return Insertion(region, alpha, tissue, inside, volume, placement.noise)


def _turn(placement: Placement) -> np.ndarray:
    """(3, 3) from offsets in the crop, mm, to those in the donor."""
    cos, sin = np.cos(placement.angle), np.sin(placement.angle)
    along_z = -1 if placement.flip_z else 1
    turn = np.array([[along_z, 0, 0], [0, cos, sin], [0, -sin, cos]])
    return turn / placement.scale


def _reach(donor: Donor, scale: float) -> np.ndarray:
    """Half sides (3,) in mm of a box that contains the turned shape."""
    away = (np.argwhere(donor.level > 0.5) - donor.center) * donor.spacing
    in_plane = float(np.hypot(away[:, 1], away[:, 2]).max())
    through = float(np.abs(away[:, 0]).max())
    edge = donor.spacing[[0, 1, 1]]
    return scale * (np.array([through, in_plane, in_plane]) + edge)


def _sample(
    values: np.ndarray,
    donor: Donor,
    to_donor: np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """Values of a donor at offsets (3, ...) from its centre, z, y, x mm."""
    matrix = to_donor / donor.spacing[:, None]
    index = np.tensordot(matrix, offsets, axes=(1, 0))
    index += donor.center.reshape(3, *[1] * (offsets.ndim - 1))
    return map_coordinates(values, index, order=1, mode='nearest')


def _region(
    center_mm: np.ndarray,
    half: np.ndarray,
    shape: Sequence[int],
    spacing: np.ndarray,
    profiles: Sequence[Profile],
) -> tuple[Region, list[np.ndarray]]:
    """The voxels that blur may reach, and their positions in mm."""
    blur = np.array([BLUR_MM + 1.5 * p.width_mm for p in profiles])
    low = np.floor((center_mm - half - blur) / spacing)
    high = np.ceil((center_mm + half + blur) / spacing) + 1
    low = np.clip(low, 0, shape).astype(int)
    high = np.clip(high, low, shape).astype(int)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high))
    axes = [np.arange(a, b) * s for a, b, s in zip(low, high, spacing)]
    return (z, y, x), axes
