"""Boxes of detections, for the formats that require them."""

from __future__ import annotations

import numpy as np

from lungdet.errors import SeriesError
from lungdet.geometry import move_boxes
from lungdet.structures import SeriesResult


def sizes_xyz(result: SeriesResult) -> np.ndarray:
    """Box sides (N, 3) in mm along the axes of the case nearest to x, y, z.

    Raises:
        SeriesError: A detection has no box.
    """
    for k, detection in result.numbered():
        if detection.size_mm is None:
            raise SeriesError(
                f'scan {result.series_uid}: detection {k} has no box, and '
                'this format needs one; leave the format out.'
            )
    sizes = [d.size_mm for d in result.detections if d.size_mm is not None]
    return np.array(sizes, dtype=np.float64).reshape(-1, 3)[:, ::-1]


def world_sizes(result: SeriesResult) -> np.ndarray:
    """Sides (N, 3) in mm along the world axes x, y, z of boxes that enclose
    those of the detections, which are turned where the case is oblique.

    Raises:
        SeriesError: A detection has no box.
    """
    steps = result.geometry.affine[:3, :3]  # of an index (z, y, x)
    directions = steps / np.linalg.norm(steps, axis=0)
    return sizes_xyz(result)[:, ::-1] @ np.abs(directions).T


def scan_boxes(result: SeriesResult) -> np.ndarray:
    """Edge boxes (N, 6) z1..x2 on the scan's own grid.

    The axes of a case are those of its scan, except for their order and signs.

    Raises:
        SeriesError: A detection has no box.
    """
    centers = [d.center_mm for d in result.detections]
    boxes = result.geometry.box_around(
        np.array(centers, dtype=np.float64).reshape(-1, 3),
        sizes_xyz(result)[:, ::-1],
    )
    return move_boxes(boxes, result.geometry, result.scan_geometry)
