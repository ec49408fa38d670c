from lungdet.geometry.affine import Geometry, index_to_world, world_to_index
from lungdet.geometry.boxes import (
    box_iou,
    box_of_mask,
    box_slices,
    box_volume,
    clip_boxes,
    corners_to_zyxdhw,
    move_boxes,
    zyxdhw_to_corners,
)
from lungdet.geometry.resample import axis_positions, isotropic_geometry

__all__ = [
    'Geometry',
    'axis_positions',
    'box_iou',
    'box_of_mask',
    'box_slices',
    'box_volume',
    'clip_boxes',
    'corners_to_zyxdhw',
    'index_to_world',
    'isotropic_geometry',
    'move_boxes',
    'world_to_index',
    'zyxdhw_to_corners',
]
