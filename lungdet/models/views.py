"""Mirrored views of windows, and what is computed on them mirrored back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from lungdet.models.feature_maps import FeatureMaps
from lungdet.ops import from_host

# of each view the mirrored axes, 0, 1, 2 = z, y, x
Flips = Sequence[tuple[int, ...]]
# by the number of views; the body is more symmetric along x than along others
FLIPS: dict[int, Flips] = {
    1: ((),),
    2: ((), (2,)),
    8: ((), (2,), (1,), (1, 2), (0,), (0, 2), (0, 1), (0, 1, 2)),
}


class View(NamedTuple):
    """Maps of a batch of windows that were mirrored.

    Attributes:
        feats: Maps of the mirrored windows.
        axes: Mirrored, among 0, 1, 2 = z, y, x.
    """

    feats: FeatureMaps
    axes: tuple[int, ...] = ()

    def flip_rois(self, rois: Tensor) -> Tensor:
        """RoIs (R, 7) of the windows in the mirrored ones, or back."""
        boxes = flip_boxes(rois[:, 1:], self.axes, self.feats.img_shape)
        return torch.cat([rois[:, :1], boxes], dim=1)

    def flip_cells(self, values: Tensor) -> Tensor:
        """Values (B, N, ...) of the anchors of the mirrored windows, in the
        order of the windows'; N runs over cells (z, y, x), then sizes."""
        if not self.axes:
            return values
        cells = self.feats.comb2.shape[2:]
        over = [axis + 1 for axis in self.axes]
        return values.unflatten(1, (*cells, -1)).flip(over).flatten(1, 4)

    def flip_deltas(self, deltas: Tensor) -> Tensor:
        """Deltas (B, N, 6) of the mirrored windows' anchors in the windows.

        The first three must be a shift along (z, y, x).
        """
        if not self.axes:
            return deltas
        signs = [-1 if axis in self.axes else 1 for axis in range(6)]
        return self.flip_cells(deltas) * from_host(signs, deltas)


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
