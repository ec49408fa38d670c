"""Resampling of an array under an affine index map.

Voxel j of the result shows index ``matrix @ j + offset`` of the source, both
(z, y, x); outside the source its edge is repeated. A map that only flips and
transposes is exact and needs no interpolation.
"""

from __future__ import annotations

import numpy as np
import torch

from lungdet.geometry import linear_taps

Shape = tuple[int, int, int]


def source_region(
    matrix: np.ndarray, offset: np.ndarray, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """The range of source indices that a result needs.

    Args:
        matrix: Matrix of the index map, (3, 3).
        offset: Offset of the index map, (3,).
        shape: Voxels of the result (z, y, x).

    Returns:
        Integers (3,) each, z, y, x; they may lie outside the source.
    """
    last = np.array(shape) - 1
    reach = np.abs(matrix) @ last / 2
    middle = offset + matrix @ last / 2
    low = np.floor(middle - reach + 1e-6).astype(int)
    high = np.ceil(middle + reach - 1e-6).astype(int) + 1
    return low, high


def warp_linear(
    source: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: Shape
) -> np.ndarray:
    """Linear interpolation.

    Args:
        source: (z, y, x), the region of ``source_region``.
        matrix: Matrix of the index map, (3, 3).
        offset: Offset of the index map, (3,).
        shape: Voxels of the result (z, y, x).

    Returns:
        float32, or the source's type if the map is exact.
    """
    if is_exact(matrix, offset):
        return reorder(source, matrix)
    if keeps_planes(matrix):
        return linear_in_planes(source, matrix, offset, shape)
    from scipy.ndimage import affine_transform

    return affine_transform(
        source.astype(np.float32),
        matrix,
        offset,
        output_shape=shape,
        order=1,
        mode='nearest',
    )


def warp_nearest(
    source: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: Shape
) -> np.ndarray:
    """Nearest voxel, for labels; arguments as in ``warp_linear``."""
    if is_exact(matrix, offset):
        return reorder(source, matrix)
    if not source.any():
        return np.zeros(shape, dtype=source.dtype)
    if keeps_planes(matrix):
        return nearest_in_planes(source, matrix, offset, shape)
    from scipy.ndimage import affine_transform

    return affine_transform(
        source, matrix, offset, output_shape=shape, order=0, mode='nearest'
    )


def is_exact(matrix: np.ndarray, offset: np.ndarray) -> bool:
    """Whether every voxel of the result is a voxel of the source.

    Args:
        matrix: Matrix of the index map, (3, 3).
        offset: Offset of the index map, (3,).

    Examples:
        >>> is_exact(np.diag([-1.0, 1, 1]), np.array([7.0, 0, 0]))  # a flip
        True
        >>> is_exact(np.eye(3), np.array([0.5, 0, 0]))
        False
    """
    return (
        bool((matrix == np.rint(matrix)).all())
        and bool((np.abs(matrix).sum(0) == 1).all())
        and bool((np.abs(matrix).sum(1) == 1).all())
        and bool((offset == np.rint(offset)).all())
    )


def reorder(source: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Flip and transpose the whole source; contiguous.

    Args:
        source: (z, y, x).
        matrix: Matrix of an exact index map, (3, 3).

    Examples:
        >>> source = np.arange(3).reshape(3, 1, 1)
        >>> reorder(source, np.diag([-1, 1, 1])).ravel()
        array([2, 1, 0])
    """
    axes = np.abs(matrix).argmax(0)  # source axis along each axis
    steps = tuple(
        slice(None, None, int(matrix[source_axis, axis]))
        for axis, source_axis in enumerate(axes)
    )
    return np.ascontiguousarray(source.transpose(axes)[steps])


def keeps_planes(matrix: np.ndarray) -> bool:
    """Whether an axial plane of the result is one of the source."""
    return not (matrix[0, 1:].any() or matrix[1:, 0].any())


def linear_in_planes(
    source: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: Shape
) -> np.ndarray:
    """``warp_linear`` for maps that keep axial planes.

    First in the plane, for every source plane at once, then along z: four
    and two taps instead of eight. Arguments as in ``warp_linear``.
    """
    at_z, at_yx = _plane_positions(matrix, offset, shape)
    last = np.array(source.shape) - 1
    grid = at_yx[::-1] / (np.maximum(last[:0:-1], 1) / 2)[:, None, None] - 1
    planes = torch.nn.functional.grid_sample(
        torch.from_numpy(source.astype(np.float32))[None],
        torch.from_numpy(grid.astype(np.float32)).permute(1, 2, 0)[None],
        mode='bilinear',
        padding_mode='border',
        align_corners=True,
    )[0]
    below, above, weight = linear_taps(at_z, len(source))
    weights = torch.from_numpy(weight)[:, None, None]
    return torch.lerp(planes[below], planes[above], weights).numpy()


def nearest_in_planes(
    source: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: Shape
) -> np.ndarray:
    """``warp_nearest`` for maps that keep axial planes; the same arguments."""
    at_z, at_yx = _plane_positions(matrix, offset, shape)
    last = np.array(source.shape) - 1
    z = np.clip(np.floor(at_z + 0.5).astype(int), 0, last[0])
    y, x = np.clip(np.floor(at_yx + 0.5).astype(int), 0, last[1:, None, None])
    result = np.zeros(shape, dtype=source.dtype)
    # most planes of an instance mask are empty
    filled = np.asarray(source.any(axis=(1, 2)))[z]
    result[filled] = source[z[filled]][:, y, x]
    return result


def _plane_positions(
    matrix: np.ndarray, offset: np.ndarray, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """Source index along z (D,), and along y and x (2, H, W)."""
    at_z = offset[0] + matrix[0, 0] * np.arange(shape[0])
    steps = np.stack(np.meshgrid(*map(np.arange, shape[1:]), indexing='ij'))
    at_yx = np.einsum('ab,bij->aij', matrix[1:, 1:], steps)
    at_yx += offset[1:, None, None]
    return at_z, at_yx
