from lungdet.ops.boxes import box_iou, box_volume, clip_box_centers
from lungdet.ops.conv import check_form, map_conv
from lungdet.ops.nms import batched_nms, nms
from lungdet.ops.roi_pool import roi_align, roi_crop_pool

__all__ = [
    'batched_nms',
    'box_iou',
    'box_volume',
    'check_form',
    'clip_box_centers',
    'map_conv',
    'nms',
    'roi_align',
    'roi_crop_pool',
]
