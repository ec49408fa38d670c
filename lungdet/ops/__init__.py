from lungdet.ops.boxes import (
    box_centers,
    box_iou,
    box_sides,
    box_volume,
    boxes_touching,
    centers_in_boxes,
    centers_inside,
    centers_near_mask,
    clip_box_centers,
    from_host,
    grow_boxes,
)
from lungdet.ops.conv import check_conv_method, map_conv
from lungdet.ops.finite import check_finite
from lungdet.ops.nms import nms, nms_of_images, same_object
from lungdet.ops.norm import BatchNorm3d
from lungdet.ops.precision import bfloat16_autocast, computes_bfloat16
from lungdet.ops.roi_pool import roi_align, roi_crop_pool
from lungdet.ops.shallow_conv import Conv3d

__all__ = [
    'BatchNorm3d',
    'Conv3d',
    'bfloat16_autocast',
    'box_centers',
    'box_iou',
    'box_sides',
    'box_volume',
    'boxes_touching',
    'centers_in_boxes',
    'centers_inside',
    'centers_near_mask',
    'check_conv_method',
    'check_finite',
    'clip_box_centers',
    'computes_bfloat16',
    'from_host',
    'grow_boxes',
    'map_conv',
    'nms',
    'nms_of_images',
    'roi_align',
    'roi_crop_pool',
    'same_object',
]
