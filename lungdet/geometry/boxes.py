"""Boxes (z1, y1, x1, z2, y2, x2) in edge coordinates, as numpy arrays.

Voxel i covers [i, i + 1): edge = index + 0.5, size = z2 - z1 with no "+ 1",
the box of a mask is (min, max + 1), and an integer box crops as
``array[z1:z2, y1:y2, x1:x2]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lungdet.geometry.grid import Geometry

Region = tuple[slice, slice, slice]


def corners_to_zyxdhw(boxes: np.ndarray) -> np.ndarray:
    """(N, 6) edge boxes to centres and sizes (z, y, x, d, h, w).

    Examples:
        >>> corners_to_zyxdhw(np.array([[-2, 1, 0, 4, 5, 3]])).tolist()
        [[1.0, 3.0, 1.5, 6.0, 4.0, 3.0]]
    """
    low, high = boxes[..., :3], boxes[..., 3:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def zyxdhw_to_corners(boxes: np.ndarray) -> np.ndarray:
    """The inverse of ``corners_to_zyxdhw``.

    Examples:
        >>> zyxdhw_to_corners(np.array([[1, 3, 1.5, 6, 4, 3]])).tolist()
        [[-2.0, 1.0, 0.0, 4.0, 5.0, 3.0]]
    """
    center, half = boxes[..., :3], boxes[..., 3:] / 2
    return np.concatenate([center - half, center + half], axis=-1)


def box_volume(boxes: np.ndarray) -> np.ndarray:
    """Volumes (N,) of (N, 6) boxes; negative sides count as 0."""
    return np.clip(boxes[..., 3:] - boxes[..., :3], 0, None).prod(-1)


def box_iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """IoU matrix (N, M) of edge boxes; 0 where both are empty.

    Examples:
        >>> one = np.array([[0.0, 0, 0, 2, 2, 2]])
        >>> box_iou(one, one + [0, 0, 1, 0, 0, 1]).round(3).tolist()
        [[0.333]]
    """
    low = np.maximum(boxes_a[:, None, :3], boxes_b[None, :, :3])
    high = np.minimum(boxes_a[:, None, 3:], boxes_b[None, :, 3:])
    inter = np.clip(high - low, 0, None).prod(-1)
    union = box_volume(boxes_a)[:, None] + box_volume(boxes_b) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def clip_boxes(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Boxes clipped to a volume of ``shape`` (z, y, x)."""
    high = np.tile(np.asarray(shape, dtype=boxes.dtype), 2)
    return np.clip(boxes, 0, high)


def enclosing_box(boxes: np.ndarray) -> np.ndarray:
    """The smallest box (6,) that contains all of (N, 6), N at least 1.

    Examples:
        >>> enclosing_box(np.array([[0, 2, 4, 1, 3, 5], [1, 1, 4, 2, 2, 9]]))
        array([0, 1, 4, 2, 3, 9])
    """
    low, high = boxes[:, :3].min(0), boxes[:, 3:].max(0)
    return np.concatenate([low, high])


def boxes_touching(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Whether each box overlaps a volume; a shared face does not count.

    Args:
        boxes: (N, 6) edge boxes.
        shape: Volume (z, y, x).

    Returns:
        Boolean (N,).

    Examples:
        >>> boxes = np.array([[-2, 0, 0, 0, 4, 4], [-2, 0, 7, 1, 4, 9]])
        >>> boxes_touching(boxes, (8, 8, 8)).tolist()
        [False, True]
    """
    low, high = boxes[..., :3], boxes[..., 3:]
    return np.all((high > 0) & (low < np.asarray(shape)), axis=-1)


def box_of_mask(mask: np.ndarray) -> np.ndarray | None:
    """Box (6,) of the true voxels, (min, max + 1); None if there is none.

    Examples:
        >>> mask = np.zeros((5, 6, 7), dtype=bool)
        >>> mask[1:3, 2:6, 4] = True
        >>> box_of_mask(mask).tolist()
        [1.0, 2.0, 4.0, 3.0, 6.0, 5.0]
    """
    sides = [occupied(mask, axis) for axis in range(3)]
    if not sides[0].stop:
        return None
    low, high = [s.start for s in sides], [s.stop for s in sides]
    return np.array([*low, *high], dtype=np.float64)


def occupied(mask: np.ndarray, axis: int) -> slice:
    """The range of indices along an axis with true voxels; empty if there are
    none.

    Examples:
        >>> mask = np.zeros((5, 6, 7), dtype=bool)
        >>> mask[1:3, 2:6, 4] = True
        >>> occupied(mask, 1)
        slice(2, 6, None)
    """
    across = tuple(a for a in range(mask.ndim) if a != axis)
    indices = np.flatnonzero(mask.any(across))
    if not len(indices):
        return slice(0, 0)
    return slice(int(indices[0]), int(indices[-1]) + 1)


def box_slices(box: np.ndarray) -> tuple[slice, slice, slice]:
    """Slices of an integer box, so that ``array[box_slices(box)]`` crops."""
    z1, y1, x1, z2, y2, x2 = (int(v) for v in box)
    return slice(z1, z2), slice(y1, y2), slice(x1, x2)


def move_boxes(
    boxes: np.ndarray, source: Geometry, target: Geometry
) -> np.ndarray:
    """Edge boxes (N, 6) of one grid as edge boxes of another.

    Between parallel grids, mirrored or not, the box is exact. A rotated box
    becomes the bounding box of its inscribed ellipsoid: nodules are round, and
    a box around rotated corners would grow by up to a factor of sqrt(3). So
    the box of a sphere stays a cube under any rotation.

    Examples:
        >>> fine = Geometry.from_parts(
        ...     (8, 8, 8), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
        ... )
        >>> box = np.array([[2, 2, 4, 4, 6, 8]])
        >>> move_boxes(box, fine, fine.coarsened(2)).tolist()
        [[1.0, 1.0, 2.0, 2.0, 3.0, 4.0]]
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 6)
    step = np.linalg.solve(target.affine[:3, :3], source.affine[:3, :3])
    center = target.to_index(source.box_center_world(boxes)) + 0.5
    half = (boxes[:, 3:] - boxes[:, :3]) / 2
    half = np.sqrt(half**2 @ (step**2).T)
    return np.concatenate([center - half, center + half], axis=1)
