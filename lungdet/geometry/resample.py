"""Resampling grids, and arrays reoriented or resampled to other grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lungdet.errors import GeometryError
from lungdet.geometry.grid import Geometry


def isotropic_geometry(geometry: Geometry, spacing_mm: float) -> Geometry:
    """Grid of equal spacing along the same axes, over the same edges.

    Output voxel j sits at input index (j + 0.5) / s - 0.5 with s = input
    spacing / output spacing, so the first voxels' outer edges coincide; the
    last output voxel may extend beyond the input by a part of a voxel.

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

    Args:
        source: A grid.
        target: A grid with the same axes in the same order.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (2, 2, 2), spacing_zyx=(2, 1, 1), origin_xyz=(0, 0, 0)
        ... )
        >>> axis_positions(grid, isotropic_geometry(grid, 1.0))[0].tolist()
        [-0.25, 0.25, 0.75, 1.25]
    """
    matrix, offset = source.index_map(target)
    return [
        offset[axis] + matrix[axis, axis] * np.arange(target.shape[axis])
        for axis in range(3)
    ]


def linear_taps(
    positions: ArrayLike, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours and weight of linear interpolation along one axis.

    With ``lerp`` this is the linear interpolation of the whole package.

    Args:
        positions: Indices (n,) to interpolate at, clamped to the array.
        size: Voxels along the axis.

    Returns:
        Lower and upper index (n,) and the upper one's weight (n,) float32.

    Examples:
        >>> low, high, weight = linear_taps([-1, 0.25, 7], 3)
        >>> low.tolist(), high.tolist(), weight.tolist()
        ([0, 0, 1], [1, 1, 2], [0.0, 0.25, 1.0])
    """
    inside = np.clip(np.asarray(positions), 0, size - 1)
    low = np.minimum(inside.astype(int), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    return low, high, (inside - low).astype(np.float32)


def interpolate_axis(
    array: np.ndarray, positions: ArrayLike, axis: int
) -> np.ndarray:
    """Linear interpolation along one axis; edge values repeat outside.

    Args:
        array: Any shape.
        positions: Indices (n,) along ``axis``.
        axis: The axis.

    Returns:
        float32, with n elements along ``axis``.

    Examples:
        >>> interpolate_axis(np.array([[0, 10, 40]]), [0.5, 1.5], 1).tolist()
        [[5.0, 25.0]]
    """
    low, high, weight = linear_taps(positions, array.shape[axis])
    along = [1] * array.ndim
    along[axis] = -1
    below = array.take(low, axis).astype(np.float32, copy=False)
    above = array.take(high, axis).astype(np.float32, copy=False)
    return lerp(below, above, weight.reshape(along))


def lerp(
    below: np.ndarray, above: np.ndarray, weight: np.ndarray | np.floating
) -> np.ndarray:
    """The value between two neighbours.

    The order of operations is fixed: another one rounds differently, and
    prepared cases must not depend on which function interpolated.

    Args:
        below: Values (...).
        above: Values (...).
        weight: Weight of ``above``, 0 to 1, of a shape that broadcasts.

    Examples:
        >>> lerp(np.array([0.0, 8.0]), np.array([4.0, 0.0]), 0.25).tolist()
        [1.0, 6.0]
    """
    return below + weight * (above - below)


def block_means(
    array: np.ndarray,
    geometry: Geometry,
    factor: ArrayLike,
    *,
    limits: tuple[float, float],
) -> tuple[np.ndarray, Geometry]:
    """Means of blocks of voxels, such as of HU on a coarse grid.

    Args:
        array: Values (z, y, x) on ``geometry``.
        geometry: Its grid.
        factor: Voxels of a block (z, y, x).
        limits: Values are clipped to them first.

    Returns:
        float32 (z, y, x), and its grid; see ``Geometry.coarsened``.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (1, 1, 4), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
        ... )
        >>> means, coarse = block_means(
        ...     np.array([[[1, 3, 5, 99]]]), grid, (1, 1, 2), limits=(0, 9)
        ... )
        >>> means.tolist(), coarse.spacing.tolist()
        ([[[2.0, 7.0]]], [1.0, 1.0, 2.0])
    """
    coarse = geometry.coarsened(factor)
    dz, dy, dx = (int(n) for n in np.broadcast_to(np.asarray(factor), 3))
    _, y, x = np.array(coarse.shape) * (dz, dy, dx)
    blocks = np.empty(coarse.shape, dtype=np.float32)
    for k, plane in enumerate(blocks):  # no float copy of the whole volume
        slab = np.clip(array[k * dz : (k + 1) * dz, :y, :x], *limits)
        slab = slab.reshape(dz, coarse.shape[1], dy, coarse.shape[2], dx)
        plane[:] = slab.mean((0, 2, 4), dtype=np.float32)
    return blocks, coarse


def resample_nearest(
    array: np.ndarray,
    source: Geometry,
    target: Geometry,
    *,
    fill: int | None = 0,
) -> np.ndarray:
    """Nearest voxel of an array for every voxel of another grid.

    Args:
        array: Labels or a mask (z, y, x) on ``source``.
        source: Its grid.
        target: Grid of the result, of any orientation.
        fill: Value outside the array; None repeats its edge.

    Returns:
        The array's type, shape ``target.shape``.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (1, 1, 4), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
        ... )
        >>> labels = np.array([[[1, 2, 3, 4]]])
        >>> resample_nearest(labels, grid, grid.crop((0, 0, 2), (1, 1, 3)))
        array([[[3, 4, 0]]])
    """
    matrix, offset = source.index_map(target)
    last = np.array(array.shape) - 1
    axes = np.abs(matrix).argmax(1)  # target axis along each source axis
    if np.count_nonzero(matrix) == len(set(axes)) == 3:
        lines = [
            _nearest(matrix[k, axis] * np.arange(target.shape[axis]) + start)
            for k, (axis, start) in enumerate(zip(axes, offset))
        ]
        return _take_lines(array, lines, fill).transpose(np.argsort(axes))
    out = np.empty(target.shape, dtype=array.dtype)
    in_plane = np.indices(target.shape[1:]).reshape(2, -1)
    for k, plane in enumerate(out):  # indices of a whole scan are large
        start = offset + matrix[:, 0] * k
        index = _nearest(matrix[:, 1:] @ in_plane + start[:, None])
        nearest = np.clip(index, 0, last[:, None])
        values = array[tuple(nearest)]
        if fill is not None:
            values[(nearest != index).any(0)] = fill
        plane[:] = values.reshape(plane.shape)
    return out


def _nearest(index: np.ndarray) -> np.ndarray:
    # not rint: how it rounds a half depends on where a crop starts
    return np.floor(index + 0.5).astype(int)


def _take_lines(
    array: np.ndarray, lines: list[np.ndarray], fill: int | None
) -> np.ndarray:
    """Values at an index per axis and position, ``fill`` outside."""
    nearest = [
        np.clip(line, 0, size - 1) for line, size in zip(lines, array.shape)
    ]
    out = array[np.ix_(*nearest)]
    if fill is not None:
        for axis, (line, inside) in enumerate(zip(lines, nearest)):
            beyond: list = [slice(None)] * 3
            beyond[axis] = line != inside
            out[tuple(beyond)] = fill
    return out


def resample_label_crop(
    crop: np.ndarray, source: Geometry, target: Geometry
) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """Nearest resampling of a label crop onto the part of a grid it covers.

    Args:
        crop: Labels or a mask (z, y, x), 0 outside.
        source: Grid of the crop.
        target: A grid that may be far larger, of any orientation.

    Returns:
        Slices of ``target`` that cover the crop, and the labels there. Both
        are empty if crop and target do not overlap.

    Examples:
        >>> scan = Geometry.from_parts(
        ...     (9, 9, 9), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
        ... )
        >>> crop = np.ones((1, 2, 2), dtype=np.uint8)
        >>> labels = np.zeros(scan.shape, dtype=np.uint8)
        >>> region, part = resample_label_crop(
        ...     crop, scan.crop((3, 4, 8), crop.shape), scan
        ... )
        >>> labels[region][part > 0] = 5
        >>> np.argwhere(labels).tolist()
        [[3, 4, 8], [3, 5, 8]]
    """
    ends = np.array([(-0.5, n - 0.5) for n in crop.shape])
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
    corners = target.to_index(source.to_world(corners))
    start = np.clip(np.floor(corners.min(0)), 0, target.shape).astype(int)
    stop = np.clip(np.ceil(corners.max(0)) + 1, start, target.shape)
    stop = stop.astype(int)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(start, stop))
    part = resample_nearest(crop, source, target.crop(start, stop - start))
    return (z, y, x), part


def reorient(
    array: np.ndarray, geometry: Geometry
) -> tuple[np.ndarray, Geometry]:
    """Reorder an array so that its axes run along +z, +y, +x, or nearest to
    them.

    Voxels only change their order, also on an oblique grid.

    Args:
        array: Voxels (z, y, x) on ``geometry``.
        geometry: Its grid.

    Returns:
        The array, contiguous, and its geometry; both as given if nothing was
        reordered.

    Examples:
        >>> grid = Geometry.from_parts(
        ...     (1, 1, 3), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0),
        ...     direction=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
        ... )
        >>> array, turned = reorient(np.array([[[1, 2, 3]]]), grid)
        >>> array.tolist(), turned.origin.tolist()
        ([[[3, 2, 1]]], [-2.0, 0.0, 0.0])
    """
    order = geometry.nearest_order()
    if order.changes_nothing:
        return array, geometry
    turned = np.ascontiguousarray(order.apply(array))
    return turned, geometry.reoriented(order)
