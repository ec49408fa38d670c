"""The JSON shape ``lungdet.case/1`` of a case's record, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.structures import Annotation, CaseNodule, CaseRecord

CASE_FORMAT = 'lungdet.case/1'


def case_to_json(record: CaseRecord) -> dict[str, Any]:
    """A record as plain JSON values."""
    return {
        **vars(record),
        'geometry': record.geometry.to_dict(),
        'source_geometry': record.source_geometry.to_dict(),
        'nodules': [vars(nodule) for nodule in record.nodules],
        'excluded': [vars(annotation) for annotation in record.excluded],
        'format': CASE_FORMAT,
    }


def case_from_json(values: Mapping[str, Any]) -> CaseRecord:
    """The inverse of ``case_to_json``; other keys are ignored.

    Raises:
        SeriesError: Written by another version of the format, or a value is
            missing.
    """
    uid, written = values.get('series_uid'), values.get('format')
    if written != CASE_FORMAT:
        raise SeriesError(
            f'case {uid}: format {written!r}, this version reads '
            f'{CASE_FORMAT!r}; prepare the scan again.'
        )
    try:
        return _record(values)
    except KeyError as error:
        raise SeriesError(
            f'case {uid}: its file lacks {error}; delete it and prepare the '
            'scan again.'
        ) from error


def _record(values: Mapping[str, Any]) -> CaseRecord:
    # early versions wrote 'warnings'
    caveats = values['caveats' if 'caveats' in values else 'warnings']
    return CaseRecord(
        series_uid=values['series_uid'],
        subset=values['subset'],
        geometry=Geometry.from_dict(values['geometry']),
        source_geometry=Geometry.from_dict(values['source_geometry']),
        spacing_mm=values['spacing_mm'],
        nodules=[_nodule(nodule) for nodule in values['nodules']],
        excluded=[_annotation(finding) for finding in values['excluded']],
        lung_mask=values['lung_mask'],
        caveats=list(caveats),
        settings=values['settings'],
        checksums=values['checksums'],
        patient_id=values.get('patient_id'),
    )


def _nodule(values: Mapping[str, Any]) -> CaseNodule:
    mask_box = values['mask_box']
    return CaseNodule(
        id=values['id'],
        center_mm=_point(values['center_mm']),
        diameter_mm=values['diameter_mm'],
        box=tuple(values['box']),
        num_readers=values['num_readers'],
        has_mask=values['has_mask'],
        mask_box=None if mask_box is None else tuple(mask_box),
    )


def _annotation(values: Mapping[str, Any]) -> Annotation:
    return Annotation(
        center_mm=_point(values['center_mm']),
        diameter_mm=values['diameter_mm'],
        num_readers=values['num_readers'],
    )


def _point(values: list[float]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z
