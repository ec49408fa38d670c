"""torch's 3D convolution, also correct for maps of two slices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# depth of the maps whose weight gradient is wrong, see Conv3d
SHALLOW = 2


class Conv3d(nn.Conv3d):
    """``torch.nn.Conv3d`` that computes maps of two slices in float32 on CPUs.

    In bfloat16, oneDNN's gradient of a 3x3x3 weight holds values that were
    never written where the map has a depth of 2 (torch 2.13 on CPUs with
    AVX-512 bfloat16; other depths, heights and widths are right). The
    coarsest map of a crop of 32 slices has that depth, and training on it
    ended in NaN. Such maps are small, so float32 costs nothing there.

    Shape:
        As ``torch.nn.Conv3d``; float32 instead of bfloat16 for such maps.

    Examples:
        >>> conv = Conv3d(4, 8, 3, padding=1)
        >>> with torch.autocast('cpu', torch.bfloat16):
        ...     conv(torch.ones(1, 4, 2, 6, 6)).dtype
        torch.float32
    """

    def forward(self, input: Tensor) -> Tensor:
        # autocast first: a branch on the size alone would fix it in exports
        if (
            torch.is_autocast_enabled('cpu')
            and input.device.type == 'cpu'
            and input.shape[2] == SHALLOW
        ):
            with torch.autocast('cpu', enabled=False):
                return super().forward(input.to(self.weight.dtype))
        return super().forward(input)
