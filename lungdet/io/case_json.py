"""The JSON shape ``lungdet.case/1`` of a case's record, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lungdet.errors import SeriesError
from lungdet.io.json_file import (
    flag,
    geometry,
    items,
    keyed,
    number,
    numbers,
    shape_checked,
    text,
    whole,
)
from lungdet.structures import Annotation, CaseNodule, CaseRecord

CASE_FORMAT = 'lungdet.case/1'


def case_to_json(record: CaseRecord) -> dict[str, Any]:
    """A record as plain JSON values."""
    return {
        **vars(record),
        'geometry': record.geometry.to_dict(),
        'source_geometry': record.source_geometry.to_dict(),
        'nodules': [vars(nodule) for nodule in record.nodules],
        'excluded': [annotation_to_json(one) for one in record.excluded],
        'format': CASE_FORMAT,
    }


def case_from_json(values: Mapping[str, Any]) -> CaseRecord:
    """The inverse of ``case_to_json``; other keys are ignored.

    Raises:
        SeriesError: Written by another version of the format, or a value is
            missing or of another kind.
    """
    uid, written = values.get('series_uid'), values.get('format')
    if written != CASE_FORMAT:
        raise SeriesError(
            f'case {uid}: format {written!r}, this version reads '
            f'{CASE_FORMAT!r}; prepare the scan again.'
        )
    with shape_checked(f'case {uid}', 'prepare the scan again.'):
        return _record(values)


def _record(values: Mapping[str, Any]) -> CaseRecord:
    # early versions wrote 'warnings'
    caveats = values['caveats' if 'caveats' in values else 'warnings']
    subset, patient = values['subset'], values.get('patient_id')
    return CaseRecord(
        series_uid=text(values['series_uid']),
        subset=None if subset is None else whole(subset),
        geometry=geometry(values['geometry']),
        source_geometry=geometry(values['source_geometry']),
        spacing_mm=number(values['spacing_mm']),
        nodules=[_nodule(nodule) for nodule in items(values['nodules'])],
        excluded=[
            annotation_from_json(one) for one in items(values['excluded'])
        ],
        lung_mask=text(values['lung_mask']),
        caveats=[text(caveat) for caveat in items(caveats)],
        settings=keyed(values['settings']),
        checksums={
            name: whole(checksum)
            for name, checksum in keyed(values['checksums']).items()
        },
        patient_id=None if patient is None else text(patient),
        # cases of early versions are scans
        kind=text(values.get('kind', 'scan')),
        made_of=[text(name) for name in items(values.get('made_of', []))],
    )


def _nodule(values: Any) -> CaseNodule:
    mask_box, num_readers = values['mask_box'], values['num_readers']
    return CaseNodule(
        id=whole(values['id']),
        center_mm=_point(values['center_mm']),
        diameter_mm=number(values['diameter_mm']),
        box=numbers(values['box'], 6),
        num_readers=None if num_readers is None else whole(num_readers),
        has_mask=flag(values['has_mask']),
        mask_box=None if mask_box is None else numbers(mask_box, 6),
    )


def annotation_to_json(annotation: Annotation) -> dict[str, Any]:
    """An annotation as plain JSON values."""
    return {**vars(annotation), 'center_mm': [*annotation.center_mm]}


def annotation_from_json(values: Any) -> Annotation:
    """The inverse of ``annotation_to_json``.

    Raises:
        KeyError, TypeError, ValueError: A value is missing or of another
            kind; ``shape_checked`` turns them into one line.
    """
    diameter_mm, num_readers = values['diameter_mm'], values['num_readers']
    return Annotation(
        center_mm=_point(values['center_mm']),
        diameter_mm=None if diameter_mm is None else number(diameter_mm),
        num_readers=None if num_readers is None else whole(num_readers),
    )


def _point(values: Any) -> tuple[float, float, float]:
    x, y, z = numbers(values, 3)
    return x, y, z
