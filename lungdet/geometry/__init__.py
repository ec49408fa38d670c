from lungdet.geometry.affine import index_to_world, world_to_index
from lungdet.geometry.boxes import (
    Region,
    box_iou,
    box_of_mask,
    box_slices,
    box_volume,
    boxes_touching,
    clip_boxes,
    corners_to_zyxdhw,
    enclosing_box,
    move_boxes,
    occupied,
    zyxdhw_to_corners,
)
from lungdet.geometry.grid import Geometry
from lungdet.geometry.orientation import AxisOrder
from lungdet.geometry.resample import (
    axis_positions,
    block_means,
    interpolate_axis,
    isotropic_geometry,
    lerp,
    linear_taps,
    reorient,
    resample_label_crop,
    resample_nearest,
)
from lungdet.geometry.spheres import (
    UNKNOWN_DIAMETER_MM,
    points_in_spheres,
    sphere_diameter,
)

__all__ = [
    'UNKNOWN_DIAMETER_MM',
    'AxisOrder',
    'Geometry',
    'Region',
    'axis_positions',
    'block_means',
    'box_iou',
    'box_of_mask',
    'box_slices',
    'box_volume',
    'boxes_touching',
    'clip_boxes',
    'corners_to_zyxdhw',
    'enclosing_box',
    'index_to_world',
    'interpolate_axis',
    'isotropic_geometry',
    'lerp',
    'linear_taps',
    'move_boxes',
    'occupied',
    'points_in_spheres',
    'reorient',
    'resample_label_crop',
    'resample_nearest',
    'sphere_diameter',
    'world_to_index',
    'zyxdhw_to_corners',
]
