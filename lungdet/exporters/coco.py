"""Boxes in COCO's layout, with a third axis."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.exporters.boxes import scan_boxes
from lungdet.io.atomic import write_text

BOXES = 'coco.json'


def write_coco(folder: Path, scan: ExportInput) -> list[str]:
    """Write boxes in voxels of the scan, from their lowest edge.

    COCO has no third axis: ``depth`` and ``bbox_mode`` are additions, and
    ``area`` is the volume of the box in voxels.
    """
    result, grid = scan.result, scan.result.scan_geometry
    width, height, depth = grid.size_xyz
    edges = scan_boxes(result)
    low, size = edges[:, 2::-1], (edges[:, 3:] - edges[:, :3])[:, ::-1]
    content = {
        'bbox_mode': 'xyzwhd',
        'images': [
            {
                'id': 1,
                'file_name': result.series_uid,
                'width': width,
                'height': height,
                'depth': depth,
                'spacing': grid.spacing_xyz.tolist(),
            }
        ],
        'categories': [{'id': 1, 'name': 'nodule'}],
        'annotations': [
            {
                'id': k,
                'image_id': 1,
                'category_id': 1,
                'bbox': [*corner.tolist(), *sides.tolist()],
                'area': float(np.prod(sides)),
                'iscrowd': 0,
                'score': detection.score,
            }
            for (k, detection), corner, sides in zip(
                result.numbered(), low, size
            )
        ],
    }
    write_text(folder / BOXES, json.dumps(content, indent=1))
    return [BOXES]


EXPORTER = Exporter([BOXES], write_coco)
