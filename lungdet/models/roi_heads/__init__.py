from lungdet.models.roi_heads.extractors import RoIAlign3D, RoICrop3D
from lungdet.models.roi_heads.mask_head import (
    Mask3DHead,
    mask_boxes,
    truncated_mask_boxes,
)
from lungdet.models.roi_heads.rcnn_head import RCNN3DHead, RoIBatch

__all__ = [
    'Mask3DHead',
    'RCNN3DHead',
    'RoIAlign3D',
    'RoIBatch',
    'RoICrop3D',
    'mask_boxes',
    'truncated_mask_boxes',
]
