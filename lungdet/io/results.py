"""Results as JSON, by the schema ``lungdet.result/2``, in one place.

``lungdet/schemas/result.schema.json`` states the schema.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.structures import Detection, Dropped, SeriesResult

RESULT_SCHEMA = 'lungdet.result/2'


def result_to_dict(
    result: SeriesResult, *, mask_file: str | None = None
) -> dict:
    """Plain JSON values of a result; masks are in a separate file.

    Args:
        result: The detections of a series.
        mask_file: Name of the label image in which detection k has value k.
    """
    scan = result.source_geometry or result.geometry
    return {
        'schema': RESULT_SCHEMA,
        'series_uid': result.series_uid,
        'geometry': scan.to_dict(),
        'case_geometry': result.geometry.to_dict(),
        'detections': [
            {
                'id': number,
                'score': detection.score,
                'rpn_score': detection.rpn_score,
                'rcnn_score': detection.rcnn_score,
                'center_world_xyz': list(detection.center_mm),
                'size_mm_zyx': detection.size_mm and list(detection.size_mm),
                'diameter_mm': detection.diameter_mm,
                'mask_file': None if detection.mask is None else mask_file,
            }
            for number, detection in enumerate(result.detections, start=1)
        ],
        'caveats': list(result.caveats),
        'dropped': [asdict(dropped) for dropped in result.dropped],
    }


def result_from_dict(values: dict) -> SeriesResult:
    """The inverse of ``result_to_dict``, without masks.

    Raises:
        SeriesError: Written by another version of the schema.
    """
    if values.get('schema') != RESULT_SCHEMA:
        raise SeriesError(
            f'result of series {values.get("series_uid")}: schema '
            f'{values.get("schema")!r}, this version reads '
            f'{RESULT_SCHEMA!r}; run the detector on the scan again.'
        )
    return SeriesResult(
        series_uid=values['series_uid'],
        detections=[
            Detection(
                center_mm=tuple(detection['center_world_xyz']),
                score=detection['score'],
                rpn_score=detection['rpn_score'],
                rcnn_score=detection['rcnn_score'],
                size_mm=_tuple_or_none(detection['size_mm_zyx']),
            )
            for detection in values['detections']
        ],
        geometry=Geometry.from_dict(values['case_geometry']),
        source_geometry=Geometry.from_dict(values['geometry']),
        caveats=list(values['caveats']),
        dropped=tuple(Dropped(**d) for d in values.get('dropped', ())),
    )


def _tuple_or_none(values: list[float] | None) -> Any:
    return None if values is None else tuple(values)
