"""Boxes encoded relative to a reference box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lungdet.ops import from_host
from lungdet.registry import TASK_UTILS


@TASK_UTILS.register_module()
class DeltaBoxCoder3D:
    """Centre shift relative to the side, and log ratio of the sides.

    Args:
        weights: Factors of (dz, dy, dx, dd, dh, dw).
        max_dlog: Largest log ratio in decoding; None for no limit
            (an early step can then overflow to infinity).

    Source: NoduleNet, box regression; Faster R-CNN in 3D.
    """

    def __init__(
        self,
        weights: Sequence[float] = (1.0,) * 6,
        max_dlog: float | None = None,
    ) -> None:
        self.weights = tuple(weights)
        self.max_dlog = max_dlog

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (N, 6) that turn ``anchors`` (N, 6) into ``boxes``."""
        size = anchors[:, 3:] - anchors[:, :3]
        shift = (
            (boxes[:, 3:] + boxes[:, :3] - anchors[:, 3:] - anchors[:, :3])
            / 2
            / size
        )
        ratio = ((boxes[:, 3:] - boxes[:, :3]) / size).log()
        deltas = torch.cat([shift, ratio], dim=1)
        return deltas * from_host(self.weights, deltas)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (N, 6) from ``anchors`` (N, 6) and ``deltas`` (N, 6)."""
        deltas = deltas / from_host(self.weights, deltas)
        size = anchors[:, 3:] - anchors[:, :3]
        center = (anchors[:, 3:] + anchors[:, :3]) / 2 + deltas[:, :3] * size
        dlog = deltas[:, 3:]
        if self.max_dlog is not None:
            dlog = dlog.clamp(max=self.max_dlog)
        half = size * dlog.exp() / 2
        return torch.cat([center - half, center + half], dim=1)
