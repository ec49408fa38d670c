"""Mirrored windows, and detections on them mirrored back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

# mirrored axes (0, 1, 2 = z, y, x) by the number of views; the body is
# more symmetric along x than along the others
FLIPS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((),),
    2: ((), (2,)),
    8: ((), (2,), (1,), (1, 2), (0,), (0, 2), (0, 1), (0, 1, 2)),
}


def flip_images(images: Tensor, axes: Sequence[int]) -> Tensor:
    """Mirrored windows (B, 1, d, h, w)."""
    return images.flip([axis + 2 for axis in axes]) if axes else images


def flip_boxes(
    boxes: Tensor, axes: Sequence[int], shape: Sequence[int]
) -> Tensor:
    """Edge boxes (N, 6) of a mirrored window in the window's voxels.

    It is its own inverse. Infinite sides stay infinite.

    Args:
        boxes: (N, 6).
        axes: Mirrored, among 0, 1, 2 = z, y, x.
        shape: Voxels of the window (z, y, x).

    Examples:
        >>> flip_boxes(torch.tensor([[0, 1, 2, 3, 4, 5]]), (2,), (9, 9, 9))
        tensor([[0, 1, 4, 3, 4, 7]])
    """
    flipped = boxes.clone()
    for axis in axes:
        flipped[:, axis] = shape[axis] - boxes[:, axis + 3]
        flipped[:, axis + 3] = shape[axis] - boxes[:, axis]
    return flipped


def flip_detections(
    detections: InstanceData, axes: Sequence[int], shape: Sequence[int]
) -> InstanceData:
    """Detections of a mirrored window in the window's voxels.

    Args:
        detections: As returned by ``WindowDetector.predict_window``; not
            changed.
        axes: Mirrored, among 0, 1, 2 = z, y, x.
        shape: Voxels of the window (z, y, x).
    """
    if not axes:
        return detections
    fields = dict(detections.items())
    for name in ('bboxes', 'proposals'):
        if name in fields:
            fields[name] = flip_boxes(fields[name], axes, shape)
    is_segmented = torch.tensor(
        [mask is not None for mask in fields['masks']], dtype=torch.bool
    )
    boxes = flip_boxes(fields['mask_boxes'], axes, shape)
    fields['mask_boxes'] = boxes * is_segmented[:, None]
    fields['masks'] = [
        mask if mask is None else mask.flip(list(axes))
        for mask in fields['masks']
    ]
    return InstanceData(**fields)
