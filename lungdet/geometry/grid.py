"""The voxel grid of an array in the patient's space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lungdet.errors import GeometryError
from lungdet.geometry.affine import index_to_world, world_to_index
from lungdet.geometry.orientation import AxisOrder

ORTHONORMAL_TOL = 1e-3  # largest |D^T D - 1| of a direction matrix
PARALLEL_TOL = 1e-4  # a direction cosine this close to 0 or 1 counts as 0 or 1
SNAP_TOL = 1e-9  # entries this close to an integer are rounded


@dataclass(frozen=True, eq=False)
class Geometry:
    """Shape and position of a voxel grid.

    Attributes:
        shape: Voxels along (z, y, x).
        affine: Index (z, y, x) to world (x, y, z) mm, (4, 4) float64; see
            ``world_to_index``.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (4, 5, 6), spacing_zyx=(2, 1, 0.5), origin_xyz=(10, 20, 30)
        ... )
        >>> grid.to_world([[1, 2, 3]]).tolist()
        [[11.5, 22.0, 32.0]]
        >>> grid.to_index([[11.5, 22.0, 32.0]]).tolist()
        [[1.0, 2.0, 3.0]]
        >>> grid.crop((1, 2, 3), (2, 2, 2)).origin.tolist()
        [11.5, 22.0, 32.0]
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
        direction: ArrayLike | None = None,
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

    @classmethod
    def from_itk(
        cls,
        size: Sequence[int],
        *,
        spacing: Sequence[float],
        origin: Sequence[float],
        direction: ArrayLike | None = None,
    ) -> Geometry:
        """Build a geometry from x, y, z values, as ITK's formats state them.

        Args:
            size: Voxels along (x, y, z).
            spacing: Distance of voxel centres in mm, order (x, y, z).
            origin: World position (x, y, z) of the first voxel's centre.
            direction: As ``from_parts``.

        Raises:
            GeometryError: As ``from_parts``.
        """
        return cls.from_parts(
            [*size][::-1],
            spacing_zyx=[*spacing][::-1],
            origin_xyz=origin,
            direction=direction,
        )

    @classmethod
    def from_ras(cls, size: Sequence[int], affine: ArrayLike) -> Geometry:
        """Build a geometry from an affine as NIfTI and nibabel state it.

        Args:
            size: Voxels along (x, y, z).
            affine: Index (x, y, z) to world (x, y, z) RAS mm, (4, 4).

        Raises:
            GeometryError: As ``from_parts``, or an affine that is not finite.

        Examples:
            >>> Geometry.from_ras((6, 5, 4), np.diag([1, 2, 3, 1])).direction
            array([[-1.,  0.,  0.],
                   [ 0., -1.,  0.],
                   [ 0.,  0.,  1.]])
        """
        ras = np.asarray(affine, dtype=np.float64)[:3]
        if not np.isfinite(ras).all():
            raise GeometryError(
                f'affine: {ras.tolist()} is not finite; no world position '
                'follows from it. Check the header.'
            )
        lps = np.diag([-1.0, -1.0, 1.0]) @ ras
        lps += 0.0  # no negative zeros
        spacing = np.linalg.norm(lps[:, :3], axis=0)
        return cls.from_itk(
            size,
            spacing=spacing.tolist(),
            origin=lps[:, 3].tolist(),
            direction=lps[:, :3] / np.where(spacing > 0, spacing, 1),
        )

    @property
    def spacing(self) -> np.ndarray:
        """Distance of voxel centres in mm, order (z, y, x)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def spacing_xyz(self) -> np.ndarray:
        """``spacing`` in the order of world axes, as ITK's formats have it."""
        return self.spacing[::-1]

    @property
    def size_xyz(self) -> tuple[int, int, int]:
        """``shape`` in the order of world axes, as ITK's formats have it."""
        z, y, x = self.shape
        return x, y, z

    @property
    def origin(self) -> np.ndarray:
        """World position (x, y, z) of the centre of voxel (0, 0, 0)."""
        return self.affine[:3, 3].copy()

    @property
    def direction(self) -> np.ndarray:
        """(3, 3); columns: unit vectors of index axes x, y, z in LPS."""
        return (self.affine[:3, :3] / self.spacing)[:, ::-1]

    def to_world(self, index_zyx: ArrayLike) -> np.ndarray:
        """Indices (N, 3) z, y, x to world points (N, 3) x, y, z in mm."""
        return index_to_world(index_zyx, self.affine)

    def to_index(self, points_mm: ArrayLike) -> np.ndarray:
        """World points (N, 3) x, y, z in mm to indices (N, 3) z, y, x."""
        return world_to_index(points_mm, self.affine)

    def mapped(
        self, matrix: ArrayLike, offset: ArrayLike, shape: Sequence[int]
    ) -> Geometry:
        """Grid whose voxel j shows index ``matrix @ j + offset`` of this one.

        Args:
            matrix: (3, 3), index step of this grid for one voxel of the new
                one; columns along its z, y, x.
            offset: Index (z, y, x) that voxel (0, 0, 0) shows; any real
                numbers, also outside this grid.
            shape: Voxels of the new grid (z, y, x).

        Examples:
            >>> grid = Geometry.from_parts(
            ...     (4, 5, 6), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
            ... )
            >>> every_second = grid.mapped(np.eye(3) * 2, (1, 0, 0), (2, 3, 3))
            >>> every_second.spacing.tolist(), every_second.origin.tolist()
            ([4.0, 2.0, 2.0], [0.0, 0.0, 2.0])
        """
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] @ np.asarray(matrix, np.float64)
        affine[:3, 3] = self.to_world(offset)[0]
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def crop(self, start_zyx: ArrayLike, shape: Sequence[int]) -> Geometry:
        """Geometry of ``array[start:start + shape]``; may extend outside."""
        return self.mapped(np.eye(3), start_zyx, shape)

    def flip(self, axis: int) -> Geometry:
        """Geometry of ``np.flip(array, axis)``; axis 0, 1, 2 = z, y, x."""
        signs, last = np.ones(3), np.zeros(3)
        signs[axis], last[axis] = -1, self.shape[axis] - 1
        return self.mapped(np.diag(signs), last, self.shape)

    def transpose(self, axes: Sequence[int]) -> Geometry:
        """Geometry of ``array.transpose(axes)``."""
        shape = [self.shape[axis] for axis in axes]
        return self.mapped(np.eye(3)[:, list(axes)], np.zeros(3), shape)

    def canonical_order(self) -> AxisOrder | None:
        """The reordering after which an array's axes run along +z, +y, +x.

        Returns:
            The order that makes ``direction`` the identity, or None for an
            oblique grid (a direction cosine more than 1e-4 off 0 and 1).
        """
        cosines = np.abs(self.affine[:3, :3] / self.spacing)
        if np.abs(cosines - np.rint(cosines)).max() > PARALLEL_TOL:
            return None
        return self.nearest_order()

    def nearest_order(self) -> AxisOrder:
        """The same for any grid, as near as reordering comes."""
        return AxisOrder.nearest(self.affine[:3, :3] / self.spacing)

    def reoriented(self, order: AxisOrder) -> Geometry:
        """Geometry of ``order.apply(array)``.

        Examples:
            >>> grid = Geometry.from_parts(
            ...     (4, 5, 6), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0),
            ...     direction=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
            ... )
            >>> order = grid.canonical_order()
            >>> order
            AxisOrder(axes=(0, 1, 2), flips=(2,))
            >>> grid.reoriented(order).origin.tolist()
            [-5.0, 0.0, 0.0]
        """
        geometry = self.transpose(order.axes)
        for axis in order.flips:
            geometry = geometry.flip(axis)
        return geometry

    def transformed(
        self,
        matrix: ArrayLike,
        center_zyx: ArrayLike,
        shape: Sequence[int],
    ) -> Geometry:
        """Grid that shows this one scaled, rotated and translated.

        Args:
            matrix: (3, 3), index step of this grid for one voxel of the new
                one, columns along its z, y, x.
            center_zyx: Index of this grid at the centre of the new one.
            shape: Voxels of the new grid (z, y, x).

        Returns:
            Grid whose voxel j shows index
            ``center_zyx + matrix @ (j - (shape - 1) / 2)`` of this one.

        Examples:
            >>> grid = Geometry.from_parts(
            ...     (9, 9, 9), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
            ... )
            >>> half = grid.transformed(2 * np.eye(3), (4, 4, 4), (3, 3, 3))
            >>> half.origin.tolist(), half.spacing.tolist()
            ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
        """
        matrix = np.asarray(matrix, dtype=np.float64)
        half = (np.asarray(shape, dtype=np.float64) - 1) / 2
        corner = np.asarray(center_zyx, dtype=np.float64) - matrix @ half
        return self.mapped(matrix, corner, shape)

    def coarsened(self, factor: ArrayLike) -> Geometry:
        """Grid of the means of blocks of ``factor`` voxels (z, y, x).

        Voxels at the end of an axis that do not fill a block are dropped.

        Examples:
            >>> grid = Geometry.from_parts(
            ...     (4, 6, 9), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
            ... )
            >>> blocks = grid.coarsened((1, 2, 4))
            >>> blocks.shape, blocks.origin.tolist()
            ((4, 3, 2), [1.5, 0.5, 0.0])
        """
        factors = np.broadcast_to(np.asarray(factor, dtype=int), 3)
        shape = np.array(self.shape) // factors
        return self.mapped(np.diag(factors), (factors - 1) / 2, [*shape])

    def index_map(self, target: Geometry) -> tuple[np.ndarray, np.ndarray]:
        """Index map from the voxels of another grid to this one.

        The inverse of ``mapped``.

        Returns:
            ``matrix`` (3, 3) and ``offset`` (3,), both (z, y, x): voxel j of
            ``target`` shows index ``matrix @ j + offset`` of this grid.
            Entries within 1e-9 of an integer are rounded to it, so flips and
            transpositions stay exact.

        Raises:
            GeometryError: This grid's affine is singular.

        Examples:
            >>> grid = Geometry.from_parts(
            ...     (4, 5, 6), spacing_zyx=(2, 1, 1), origin_xyz=(3, 2, 1)
            ... )
            >>> matrix, offset = grid.index_map(grid.flip(2))
            >>> matrix.diagonal().tolist(), offset.tolist()
            ([1.0, 1.0, -1.0], [0.0, 0.0, 5.0])
        """
        offset = self.to_index(target.origin[None])[0]
        steps = np.linalg.solve(self.affine[:3, :3], target.affine[:3, :3])
        return _snapped(steps), _snapped(offset)

    def box_center_world(self, boxes: ArrayLike) -> np.ndarray:
        """World centres (N, 3) x, y, z of edge boxes (N, 6) z1..x2."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 6)
        return self.to_world((boxes[:, :3] + boxes[:, 3:]) / 2 - 0.5)

    def sphere_box(
        self, center_mm: ArrayLike, diameter_mm: ArrayLike
    ) -> np.ndarray:
        """Edge boxes (N, 6) that enclose spheres given in world mm.

        Sides are diameter / spacing along each axis, exact for any rotation
        of the grid because a sphere has the same extent along every axis.
        """
        diameters = np.asarray(diameter_mm, dtype=np.float64).reshape(-1, 1)
        return self.box_around(center_mm, diameters)

    def box_around(
        self, center_mm: ArrayLike, size_mm: ArrayLike
    ) -> np.ndarray:
        """Edge boxes (N, 6) with given centres and sides in world mm.

        Args:
            center_mm: World centres (N, 3), order (x, y, z).
            size_mm: Sides along the grid's axes, (N, 3) in (z, y, x), or
                (N, 1) for cubes.

        Examples:
            >>> grid = Geometry.from_parts(
            ...     (9, 9, 9), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
            ... )
            >>> grid.box_around([[4, 3, 6]], [[4, 2, 6]]).tolist()
            [[2.5, 2.5, 1.5, 4.5, 4.5, 7.5]]
        """
        center = self.to_index(center_mm) + 0.5
        half = np.asarray(size_mm, dtype=np.float64) / 2 / self.spacing
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


def _snapped(values: np.ndarray) -> np.ndarray:
    whole = np.rint(values)
    # + 0.0: no negative zeros
    return np.where(np.abs(values - whole) <= SNAP_TOL, whole, values) + 0.0
