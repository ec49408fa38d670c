"""Points as grand-challenge.org accepts them, kind "Multiple points"."""

from __future__ import annotations

import json
from pathlib import Path

from lungdet.exporters.base import Exporter, ExportInput, name_of
from lungdet.io.atomic import write_text

POINTS = 'nodule-locations.json'


def write_grand_challenge(folder: Path, scan: ExportInput) -> list[str]:
    """Write world centres (x, y, z; LPS, mm) and scores.

    The platform refuses keys that it does not know.
    """
    content = {
        'name': 'Nodules',
        'type': 'Multiple points',
        'points': [
            {
                'name': name_of(k),
                'point': list(detection.center_mm),
                'probability': detection.score,
            }
            for k, detection in scan.result.numbered()
        ],
        'version': {'major': 1, 'minor': 0},
    }
    write_text(folder / POINTS, json.dumps(content, indent=1))
    return [POINTS]


EXPORTER = Exporter([POINTS], write_grand_challenge)
