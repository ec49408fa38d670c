"""One insertion: its parameters, and its rendering on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from lungdet.geometry import Region, sphere_diameter
from lungdet.insertion.blend import Profile, blend_tissue
from lungdet.insertion.donor import Donor

CELLS = 24  # cells along the longest axis of a shape, before the scan's blur
MIN_STEP_MM = 0.35
BLUR_MM = 2.0  # margin for blur, in addition to one and a half voxels
FIRST_WEIGHT = 0.004  # voxels with a smaller weight are not changed


@dataclass(frozen=True)
class Placement:
    """Parameters of one insertion, as plain values.

    Attributes:
        kind: ``'nodule'`` or ``'sham'``.
        source: ``'library'``, ``'parametric'`` or ``'scan'``.
        site: One of ``SITES``.
        center: Index (z, y, x) in the crop.
        angle: Rotation in the axial plane, in radians.
        flip_z: Whether it is mirrored along z.
        scale: Magnification.
        psf_mm: Sigma of the in-plane point spread function, in mm.
        index: Index of the nodule in the library.
        seed: Seed of a parametric nodule.
        size_mm: Diameter of a parametric nodule, or radius of a piece of the
            scan, in mm.
        cut: Voxel (z, y, x) of the crop at the centre of such a piece.
        noise: Fraction of the crop's noise to keep; see ``tissue_noise``.
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
    """A shape rendered on the grid of a crop.

    Attributes:
        region: Region of the crop that it may change; the arrays below have
            its shape.
        alpha: Fraction of each voxel inside the shape, blurred, float32.
        tissue: HU of the inserted tissue, float32.
        inside: Voxels inside the shape, without blur, bool.
        volume_mm3: Volume of the shape without blur, in mm3.
        noise: Fraction of the crop's noise to keep.
    """

    region: Region
    alpha: np.ndarray
    tissue: np.ndarray
    inside: np.ndarray
    volume_mm3: float
    noise: float = 1.0

    @property
    def diameter_mm(self) -> float:
        """Diameter in mm of the sphere of equal volume."""
        return sphere_diameter(self.volume_mm3)

    def blended(self, part: np.ndarray) -> np.ndarray:
        """The insertion blended into ``part``, the image in its region."""
        return blend_tissue(part, self.alpha, self.tissue, self.noise)


def render_insertion(
    donor: Donor,
    placement: Placement,
    shape: Sequence[int],
    spacing: np.ndarray,
    profiles: Sequence[Profile],
) -> Insertion:
    """Rotate, scale and blur a donor, as the scan would show it.

    Args:
        donor: The shape and its tissue.
        placement: Parameters of the insertion.
        shape: Voxels (z, y, x) of the crop.
        spacing: Spacing (z, y, x) of the crop in mm.
        profiles: Blur along each axis; see ``scan_profiles``.
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
    """Matrix (3, 3) from offsets in the crop to offsets in the donor, mm."""
    cos, sin = np.cos(placement.angle), np.sin(placement.angle)
    along_z = -1 if placement.flip_z else 1
    turn = np.array([[along_z, 0, 0], [0, cos, sin], [0, -sin, cos]])
    return turn / placement.scale


def _reach(donor: Donor, scale: float) -> np.ndarray:
    """Half sides (3,) in mm of a box that contains the rotated shape."""
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
    """Values of a donor at offsets (3, ...) z, y, x in mm from its centre."""
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
    """Region of the crop that the blurred shape may reach, and the positions
    of its voxels along each axis in mm."""
    blur = np.array([BLUR_MM + 1.5 * p.width_mm for p in profiles])
    low = np.floor((center_mm - half - blur) / spacing)
    high = np.ceil((center_mm + half + blur) / spacing) + 1
    low = np.clip(low, 0, shape).astype(int)
    high = np.clip(high, low, shape).astype(int)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high))
    axes = [np.arange(a, b) * s for a, b, s in zip(low, high, spacing)]
    return (z, y, x), axes
