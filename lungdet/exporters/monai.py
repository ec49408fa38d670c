"""Boxes as MONAI's lung nodule bundle predicts them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.exporters.boxes import world_sizes
from lungdet.io.atomic import write_text

BOXES = 'monai.json'


def write_monai(folder: Path, scan: ExportInput) -> list[str]:
    """Write centre and size (x, y, z) of every box, world mm; of an oblique
    case the box along the world's axes that encloses it.

    Two keys that MONAI does not have state the frame and the box mode.
    """
    result = scan.result
    centers = np.array([d.center_mm for d in result.detections])
    sizes = world_sizes(result)
    boxes = np.concatenate([centers.reshape(-1, 3), sizes], axis=1)
    content = {
        'image': result.series_uid,
        'box': boxes.tolist(),
        'label': [0 for _ in result.detections],
        'label_scores': [d.score for d in result.detections],
        'coordinate_system': 'LPS',
        'box_mode': 'cccwhd',
    }
    write_text(folder / BOXES, json.dumps([content], indent=1))
    return [BOXES]


EXPORTER = Exporter([BOXES], write_monai)
