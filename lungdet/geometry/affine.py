"""Voxel grids in the patient's space.

Arrays are (z, y, x); world points are (x, y, z), LPS, mm. The axis order
changes in this package and nowhere else. Integer indices are voxel centres;
edge coordinates (boxes) are index + 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.errors import GeometryError

SINGULAR_MM3 = 1e-9  # voxels smaller than this have no usable inverse
ORTHONORMAL_TOL = 1e-3  # largest |D^T D - 1| of a direction matrix


def index_to_world(index_zyx: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Map continuous voxel indices to world points.

    Args:
        index_zyx: Continuous indices, shape (N, 3), order (z, y, x).
        affine: Index-to-world matrix, shape (4, 4), see ``world_to_index``.

    Returns:
        World points, shape (N, 3), order (x, y, z), LPS, mm, float64.

    Source: DICOM PS3.3 C.7.6.2.1.1.
    """
    index = np.asarray(index_zyx, dtype=np.float64).reshape(-1, 3)
    return index @ affine[:3, :3].T + affine[:3, 3]


def world_to_index(points_mm: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Map world points to continuous voxel indices.

    Args:
        points_mm: World points, shape (N, 3), order (x, y, z), LPS, mm.
        affine: Index-to-world matrix, shape (4, 4), float64. Columns 0..2
            step one voxel along z, y, x (array order); column 3 is the world
            position of the centre of voxel (0, 0, 0).

    Returns:
        Continuous indices, shape (N, 3), order (z, y, x), float64. An integer
        is a voxel centre. Points outside the volume are not clipped.

    Raises:
        GeometryError: The affine is singular.

    Source: DICOM PS3.3 C.7.6.2.1.1 (the inverse of its equation).
    """
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    step, origin_mm = affine[:3, :3], affine[:3, 3]
    if abs(np.linalg.det(step)) < SINGULAR_MM3:
        raise GeometryError(
            f'affine: singular (determinant {np.linalg.det(step):.2g} mm^3); '
            'two image axes point the same way or a spacing is 0. '
            'Check ElementSpacing and TransformMatrix in the header.'
        )
    return np.linalg.solve(step, (points - origin_mm).T).T


@dataclass(frozen=True, eq=False)
class Geometry:
    """Shape and place of a voxel grid.

    Attributes:
        shape: Voxels along (z, y, x).
        affine: Index (z, y, x) to world (x, y, z) mm, (4, 4) float64; see
            ``world_to_index``.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @classmethod
    def from_parts(
        cls,
        shape: Sequence[int],
        *,
        spacing_zyx: Sequence[float],
        origin_xyz: Sequence[float],
        direction: np.ndarray | Sequence[Sequence[float]] | None = None,
    ) -> Geometry:
        """Build a geometry from what image headers state.

        Args:
            shape: Voxels along (z, y, x).
            spacing_zyx: Distance of voxel centres in mm, order (z, y, x).
            origin_xyz: World position of the centre of voxel (0, 0, 0).
            direction: (3, 3), columns are the unit vectors of the index axes
                x, y, z in LPS (as SimpleITK's GetDirection, row-major);
                None is the identity.

        Raises:
            GeometryError: Spacing not positive or not finite, or direction
                not orthonormal within 1e-3.
        """
        spacing = np.asarray(spacing_zyx, dtype=np.float64)
        origin = np.asarray(origin_xyz, dtype=np.float64)
        if not (np.isfinite(spacing).all() and (spacing > 0).all()):
            raise GeometryError(
                f'spacing: {spacing.tolist()} mm (z, y, x); every spacing '
                'must be a positive number. Check ElementSpacing.'
            )
        if not np.isfinite(origin).all():
            raise GeometryError(
                f'origin: {origin.tolist()} mm (x, y, z) is not finite; '
                'no world position follows from it. Check Offset.'
            )
        cosines = np.eye(3) if direction is None else np.asarray(direction)
        cosines = cosines.astype(np.float64).reshape(3, 3)
        shear = np.abs(cosines.T @ cosines - np.eye(3)).max()
        if not shear < ORTHONORMAL_TOL:
            raise GeometryError(
                f'direction: not orthonormal (largest error {shear:.3g}); '
                'boxes would be sheared. Resample the series to an '
                'orthogonal grid.'
            )
        affine = np.eye(4)
        affine[:3, :3] = (cosines * spacing[::-1])[:, ::-1]
        affine[:3, 3] = origin
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    @property
    def spacing(self) -> np.ndarray:
        """Distance of voxel centres in mm, order (z, y, x)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def origin(self) -> np.ndarray:
        """World position (x, y, z) of the centre of voxel (0, 0, 0)."""
        return self.affine[:3, 3].copy()

    @property
    def direction(self) -> np.ndarray:
        """(3, 3); columns: unit vectors of index axes x, y, z in LPS."""
        return (self.affine[:3, :3] / self.spacing)[:, ::-1]

    def to_world(self, index_zyx: np.ndarray) -> np.ndarray:
        """Indices (N, 3) z, y, x to world points (N, 3) x, y, z in mm."""
        return index_to_world(index_zyx, self.affine)

    def to_index(self, points_mm: np.ndarray) -> np.ndarray:
        """World points (N, 3) x, y, z in mm to indices (N, 3) z, y, x."""
        return world_to_index(points_mm, self.affine)

    def crop(self, start_zyx: Sequence[int], shape: Sequence[int]) -> Geometry:
        """Geometry of ``array[start:start + shape]``; may reach outside."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(np.asarray(start_zyx)[None])[0]
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def flip(self, axis: int) -> Geometry:
        """Geometry of ``np.flip(array, axis)``; axis 0, 1, 2 = z, y, x."""
        affine = self.affine.copy()
        last = np.zeros(3)
        last[axis] = self.shape[axis] - 1
        affine[:3, 3] = self.to_world(last[None])[0]
        affine[:3, axis] = -affine[:3, axis]
        return Geometry(self.shape, affine)

    def transpose(self, axes: Sequence[int]) -> Geometry:
        """Geometry of ``array.transpose(axes)``."""
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, list(axes)]
        a, b, c = (self.shape[axis] for axis in axes)
        return Geometry((a, b, c), affine)

    def box_center_world(self, boxes: np.ndarray) -> np.ndarray:
        """World centres (N, 3) x, y, z of edge boxes (N, 6) z1..x2."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 6)
        return self.to_world((boxes[:, :3] + boxes[:, 3:]) / 2 - 0.5)

    def sphere_box(
        self, center_mm: np.ndarray, diameter_mm: float | np.ndarray
    ) -> np.ndarray:
        """Edge boxes (N, 6) that enclose spheres given in world mm.

        Sides are diameter / spacing along each axis, exact for any rotation
        of the grid because a sphere has the same extent along every axis.
        """
        center = self.to_index(center_mm) + 0.5
        half = np.asarray(diameter_mm, dtype=np.float64).reshape(-1, 1)
        half = half / 2 / self.spacing
        return np.concatenate([center - half, center + half], axis=1)

    def is_close(self, other: Geometry, tol_mm: float = 1e-3) -> bool:
        """Same shape, and all corners within ``tol_mm`` of each other."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*([0, n - 1] for n in self.shape)))
        corners = corners.reshape(3, -1).T
        gap = self.to_world(corners) - other.to_world(corners)
        return bool(np.abs(gap).max() <= tol_mm)

    def to_dict(self) -> dict:
        """Plain JSON values: shape (z, y, x) and the 4 x 4 affine."""
        return {'shape': list(self.shape), 'affine': self.affine.tolist()}

    @classmethod
    def from_dict(cls, values: dict) -> Geometry:
        """The inverse of ``to_dict``."""
        z, y, x = values['shape']
        return cls((z, y, x), np.asarray(values['affine'], dtype=np.float64))
