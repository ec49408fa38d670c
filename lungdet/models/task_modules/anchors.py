"""Box priors on a grid of feature cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lungdet.models.feature_maps import STRIDE
from lungdet.ops import from_host
from lungdet.registry import TASK_UTILS


@TASK_UTILS.register_module()
class AnchorGenerator3D:
    """Cubes around the centre of every feature cell.

    Args:
        sizes: Sides in voxels, one anchor per cell and size.
        stride: Input voxels per cell.

    Source: NoduleNet; its index-form centre 1.5 + 4 i is (i + 0.5) * 4 here.
    """

    def __init__(
        self,
        sizes: Sequence[float] = (5, 10, 20, 30, 50),
        stride: int = STRIDE,
    ) -> None:
        self.sizes = tuple(float(size) for size in sizes)
        self.stride = stride
        self._cache: dict[tuple, Tensor] = {}

    @property
    def num_anchors(self) -> int:
        """Anchors per cell."""
        return len(self.sizes)

    def grid_anchors(
        self,
        shape: Sequence[int],
        device: torch.device | str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """All anchors of a feature map, cached per shape.

        Args:
            shape: Cells (z, y, x).
            device: Device of the anchors.
            dtype: Their type.

        Returns:
            (N, 6) edge boxes, N = cells * sizes; flat order ((iz * H + iy) *
            W + ix) * A + a. Not clipped at the border.
        """
        key = (tuple(shape), str(device), dtype)
        if key not in self._cache:
            if len(self._cache) > 8:
                self._cache.clear()
            self._cache[key] = self._make(shape, device, dtype)
        return self._cache[key]

    def _make(
        self,
        shape: Sequence[int],
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> Tensor:
        axes = [
            (torch.arange(n, device=device, dtype=dtype) + 0.5) * self.stride
            for n in shape
        ]
        centers = torch.stack(torch.meshgrid(*axes, indexing='ij'), dim=-1)
        centers = centers.reshape(-1, 1, 3)
        half = from_host(self.sizes, centers) / 2
        half = half[None, :, None]
        return torch.cat([centers - half, centers + half], -1).view(-1, 6)
