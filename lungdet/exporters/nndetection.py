"""Boxes as nnDetection predicts them, as JSON instead of a pickle.

Source: nnDetection (MIC-DKFZ), ``<case>_boxes.pkl``; a pickle can run code
where it is read, so the same keys are written as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.exporters.boxes import scan_boxes
from lungdet.io.atomic import write_text

BOXES = 'nndetection.json'
AXES = (0, 1, 3, 4, 2, 5)  # z1 y1 z2 y2 x1 x2, from z1 y1 x1 z2 y2 x2


def write_nndetection(folder: Path, scan: ExportInput) -> list[str]:
    """Write boxes on the scan's grid, and its geometry as SimpleITK's.

    A box of nnDetection reaches from the last index before its first voxel to
    the first index after its last one, so its centre is a continuous index.
    """
    result, grid = scan.result, scan.result.scan_geometry
    boxes = scan_boxes(result) - np.array([1, 1, 1, 0, 0, 0])
    content = {
        'pred_boxes': boxes[:, AXES].tolist(),
        'pred_scores': [d.score for d in result.detections],
        'pred_labels': [0 for _ in result.detections],
        'restore': True,  # boxes are on the grid of the scan
        'original_size_of_raw_data': list(grid.shape),
        'itk_origin': grid.origin.tolist(),
        'itk_spacing': grid.spacing_xyz.tolist(),
        'itk_direction': grid.direction.ravel().tolist(),
    }
    write_text(folder / BOXES, json.dumps(content, indent=1))
    return [BOXES]


EXPORTER = Exporter([BOXES], write_nndetection)
