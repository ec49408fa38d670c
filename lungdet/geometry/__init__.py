from lungdet.geometry.affine import Geometry, index_to_world, world_to_index
from lungdet.geometry.boxes import (
    box_iou,
    box_of_mask,
    box_slices,
    box_volume,
    clip_boxes,
    corners_to_zyxdhw,
    zyxdhw_to_corners,
)

__all__ = [
    'Geometry',
    'box_iou',
    'box_of_mask',
    'box_slices',
    'box_volume',
    'clip_boxes',
    'corners_to_zyxdhw',
    'index_to_world',
    'world_to_index',
    'zyxdhw_to_corners',
]
