"""RoI extractors: features of fixed size for regions of any size."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from lungdet.models.feature_maps import STRIDE
from lungdet.ops import roi_align, roi_crop_pool
from lungdet.registry import MODELS


@MODELS.register_module()
class RoICrop3D(BaseModule):
    """Crop the touched cells, adaptive max pooling (as published).

    Args:
        output_size: Bins per axis.
        stride: Input voxels per feature cell.
    """

    def __init__(self, output_size: int = 7, stride: int = STRIDE) -> None:
        super().__init__()
        self.output_size = output_size
        self.stride = stride

    def forward(self, feature: Tensor, rois: Tensor) -> Tensor:
        """(B, C, D, H, W) and RoIs (N, 7) -> (N, C, k, k, k)."""
        return roi_crop_pool(
            feature, rois, output_size=self.output_size, stride=self.stride
        )


@MODELS.register_module()
class RoIAlign3D(RoICrop3D):
    """Trilinear samples at the bins' centres."""

    def forward(self, feature: Tensor, rois: Tensor) -> Tensor:
        """(B, C, D, H, W) and RoIs (N, 7) -> (N, C, k, k, k)."""
        return roi_align(
            feature, rois, output_size=self.output_size, stride=self.stride
        )
