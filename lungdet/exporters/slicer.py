"""Points and regions of interest for 3D Slicer.

Source: Slicer, markups schema 1.0.3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lungdet.exporters.base import Exporter, ExportInput, label_of
from lungdet.geometry import Geometry
from lungdet.io.atomic import write_text
from lungdet.structures import Detection

MARKS, ROIS = 'marks.mrk.json', 'rois/nodule-{:03d}.mrk.json'
SCHEMA = (
    'https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/'
    'Markups/Resources/Schema/markups-schema-v1.0.3.json#'
)
FRAME = {'coordinateSystem': 'LPS', 'coordinateUnits': 'mm'}
IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]


def write_slicer(folder: Path, scan: ExportInput) -> list[str]:
    """Write one list of points, and a file for each box.

    Older versions of Slicer load only the first markup of a file.
    """
    result, files = scan.result, [MARKS]
    points = {
        'type': 'Fiducial',
        **FRAME,
        'controlPoints': [_point(k, one) for k, one in result.numbered()],
    }
    _write(folder / MARKS, points)
    for k, detection in result.numbered():
        if detection.size_mm is not None:
            files.append(ROIS.format(k))
            _write(folder / files[-1], _roi(k, detection, result.geometry))
    return files


def _write(path: Path, markup: dict[str, Any]) -> None:
    content = {'@schema': SCHEMA, 'markups': [markup]}
    write_text(path, json.dumps(content, indent=1))


def _point(k: int, detection: Detection) -> dict[str, Any]:
    size = detection.diameter_mm
    return {
        'id': str(k),
        'label': label_of(k, detection),
        'description': '' if size is None else f'{size:.1f} mm',
        'associatedNodeID': '',
        'position': list(detection.center_mm),
        'orientation': IDENTITY,
        'selected': True,
        'locked': False,
        'visibility': True,
        'positionStatus': 'defined',
    }


def _roi(k: int, detection: Detection, grid: Geometry) -> dict[str, Any]:
    size = detection.size_mm or ()
    return {
        'type': 'ROI',
        **FRAME,
        'locked': True,
        'name': label_of(k, detection),
        'roiType': 'Box',
        'center': list(detection.center_mm),
        'size': list(size[::-1]),
        'orientation': grid.direction.ravel().tolist(),
        'insideOut': False,
        'controlPoints': [_point(k, detection)],
    }


EXPORTER = Exporter([MARKS, 'rois/nodule-*.mrk.json'], write_slicer)
