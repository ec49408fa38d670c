"""The results' JSON schema ``lungdet.result/2``, written in one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from lungdet.geometry import Geometry
from lungdet.structures import Detection, SeriesResult

SCHEMA = 'lungdet.result/2'


def _number(values: Any, index: int) -> float | None:
    if values is None:
        return None
    value = float(values[index])
    return None if np.isnan(value) else value


def result_from_instances(
    instances: Any, series_uid: str, geometry: Geometry
) -> SeriesResult:
    """Turn predictions in voxels into detections in world mm.

    Args:
        instances: Has ``bboxes`` (K, 6) edge boxes, ``scores`` (K,), and may
            have ``rpn_scores``, ``rcnn_scores`` (K,; NaN = unknown),
            ``mask_boxes`` (K, 6) and ``masks`` (list of bool arrays or None).
        series_uid: Identifier of the scan.
        geometry: Grid of the boxes.
    """
    boxes = np.asarray(instances.bboxes, dtype=np.float64).reshape(-1, 6)
    scores = np.asarray(instances.scores, dtype=np.float64)
    centers = geometry.box_center_world(boxes)
    sizes = (boxes[:, 3:] - boxes[:, :3]) * geometry.spacing
    rpn = getattr(instances, 'rpn_scores', None)
    rcnn = getattr(instances, 'rcnn_scores', None)
    masks = getattr(instances, 'masks', None)
    detections = []
    for k in np.argsort(-scores, kind='stable'):
        mask = None if masks is None else masks[k]
        mask_box = None
        if mask is not None:
            mask = np.asarray(mask, dtype=bool)
            z1, y1, x1, z2, y2, x2 = (int(v) for v in instances.mask_boxes[k])
            mask_box = (z1, y1, x1, z2, y2, x2)
        x, y, z = (float(v) for v in centers[k])
        dz, dy, dx = (float(v) for v in sizes[k])
        detections.append(
            Detection(
                center_mm=(x, y, z),
                score=float(scores[k]),
                rpn_score=_number(rpn, k),
                rcnn_score=_number(rcnn, k),
                size_mm=(dz, dy, dx),
                mask_box=mask_box,
                mask=mask,
            )
        )
    return SeriesResult(series_uid, detections, geometry)


def result_to_dict(
    result: SeriesResult, scan: Geometry, *, mask_file: str | None = None
) -> dict:
    """Plain JSON values of a result; see docs/conventions.md.

    Args:
        result: What was found.
        scan: Grid of the scan as its file states it.
        mask_file: Name of the label image in which detection k has value k.
    """
    detections = []
    for number, detection in enumerate(result.detections, start=1):
        detections.append(
            {
                'id': number,
                'score': detection.score,
                'rpn_score': detection.rpn_score,
                'rcnn_score': detection.rcnn_score,
                'center_world_xyz': list(detection.center_mm),
                'size_mm_zyx': list(detection.size_mm or ()) or None,
                'diameter_mm': detection.diameter_mm,
                'mask_file': mask_file if detection.mask is not None else None,
            }
        )
    return {
        'schema': SCHEMA,
        'series_uid': result.series_uid,
        'geometry': scan.to_dict(),
        'case_geometry': result.geometry.to_dict(),
        'detections': detections,
        'caveats': list(result.caveats),
    }
