from lungdet.models.roi_heads.bbox_head import BBox3DHead
from lungdet.models.roi_heads.extractors import RoIAlign3D, RoICrop3D
from lungdet.models.roi_heads.mask_head import Mask3DHead
from lungdet.models.roi_heads.nodule_roi_head import NoduleRoIHead

__all__ = [
    'BBox3DHead',
    'Mask3DHead',
    'NoduleRoIHead',
    'RoIAlign3D',
    'RoICrop3D',
]
