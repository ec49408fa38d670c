"""The backbone's output, which is the input of every head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STRIDE = 4  # input voxels per cell of out2 and comb2, which the heads read


class FeatureMaps(NamedTuple):
    """Maps of a batch of equal crops or windows.

    Attributes:
        image: (B, 1, D, H, W), the network's input.
        out1: (B, C1, D/2, H/2, W/2), of the encoder.
        out2: (B, C2, D/4, H/4, W/4), of the encoder; for the RoI head.
        comb2: (B, C3, D/4, H/4, W/4), of the decoder; for the RPN and the mask
            head.
    """

    image: Tensor
    out1: Tensor
    out2: Tensor
    comb2: Tensor

    @property
    def img_shape(self) -> tuple[int, int, int]:
        """Input voxels (z, y, x) of each image."""
        depth, height, width = self.image.shape[2:]
        return depth, height, width

    def of_image(self, index: int) -> FeatureMaps:
        """The maps of one image, as a batch of one."""
        return FeatureMaps(*(m[index : index + 1] for m in self))

    def full_precision(self) -> torch.autocast:
        """For heads and losses: float32, also under autocast."""
        return torch.autocast(self.image.device.type, enabled=False)
