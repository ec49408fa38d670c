from lungdet.ops.boxes import box_iou, box_volume, clip_box_centers
from lungdet.ops.nms import batched_nms, nms
from lungdet.ops.roi_pool import roi_align, roi_crop_pool
from lungdet.ops.window import window_share

__all__ = [
    'batched_nms',
    'box_iou',
    'box_volume',
    'clip_box_centers',
    'nms',
    'roi_align',
    'roi_crop_pool',
    'window_share',
]
