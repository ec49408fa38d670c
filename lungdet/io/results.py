"""Results as JSON, by the schema ``lungdet.result/3``, in one place.

``lungdet/schemas/result.schema.json`` states the schema. Inside the package a
result is a ``SeriesResult``; JSON is written and read here only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lungdet.errors import SeriesError
from lungdet.io.json_file import (
    geometry,
    items,
    keyed,
    number,
    numbers,
    read_object,
    shape_checked,
    text,
    whole,
)
from lungdet.structures import (
    Detection,
    Dropped,
    ModelInfo,
    RunInfo,
    SeriesResult,
)

RESULT = 'result.json'  # its file
RESULT_SCHEMA = 'lungdet.result/3'
INTENDED_USE = 'Research use only.'
REMEDY = 'run the detector on the scan again.'


def result_to_dict(result: SeriesResult) -> dict[str, Any]:
    """Plain JSON values of a result; masks are in a separate file.

    Args:
        result: The detections of a series.
    """
    return {
        'schema': RESULT_SCHEMA,
        'intended_use': INTENDED_USE,
        'series_uid': result.series_uid,
        'source': result.source,
        'geometry': result.scan_geometry.to_dict(),
        'case_geometry': result.geometry.to_dict(),
        'detections': [
            _detection_to_dict(k, detection)
            for k, detection in result.numbered()
        ],
        'caveats': list(result.caveats),
        'dropped': [asdict(dropped) for dropped in result.dropped],
        'model': result.model and _model_to_dict(result.model),
        'run': result.run and _run_to_dict(result.run),
        'files': {name: list(files) for name, files in result.files.items()},
    }


def _detection_to_dict(k: int, detection: Detection) -> dict[str, Any]:
    has_mask = detection.mask is not None
    return {
        'id': k,
        'label': 'nodule',
        'score': detection.score,
        'rpn_score': detection.rpn_score,
        'rcnn_score': detection.rcnn_score,
        'center_world_xyz': list(detection.center_mm),
        'size_mm_zyx': detection.size_mm and list(detection.size_mm),
        'diameter_mm': detection.diameter_mm,
        'volume_mm3': detection.volume_mm3,
        'mask_label': k if has_mask else detection.mask_label,
        'slice_number': detection.slice_number,
        'instance_number': detection.instance_number,
        'sop_instance_uid': detection.sop_instance_uid,
        'lung_side': detection.lung_side,
        'lung_zone': detection.lung_zone,
    }


def _model_to_dict(model: ModelInfo) -> dict[str, Any]:
    return {**asdict(model), 'window': list(model.window)}


def _run_to_dict(run: RunInfo) -> dict[str, Any]:
    windows = run.windows and dict(zip(('run', 'possible'), run.windows))
    return {**asdict(run), 'seconds': dict(run.seconds), 'windows': windows}


def read_result(path: str | Path) -> SeriesResult:
    """Read a ``result.json``, without masks.

    Raises:
        FileNotFoundError: It is not there.
        SeriesError: Not JSON, damaged, or of another version.
    """
    path = Path(path)
    return result_from_dict(read_object(path, REMEDY.capitalize()), str(path))


def result_from_dict(
    values: Mapping[str, Any], where: str = 'result'
) -> SeriesResult:
    """The inverse of ``result_to_dict``, without masks and slices.

    Args:
        values: A JSON object.
        where: Its file, for messages.

    Raises:
        SeriesError: Written by another version of the schema, or damaged.
    """
    if values.get('schema') != RESULT_SCHEMA:
        raise SeriesError(
            f'{where} of series {values.get("series_uid")}: schema '
            f'{values.get("schema")!r}, this version reads '
            f'{RESULT_SCHEMA!r}; {REMEDY}'
        )
    with shape_checked(where, REMEDY):
        return SeriesResult(
            series_uid=text(values['series_uid']),
            detections=[
                _detection_of(keyed(one))
                for one in items(values['detections'])
            ],
            geometry=geometry(values['case_geometry']),
            source_geometry=geometry(values['geometry']),
            caveats=[text(one) for one in items(values['caveats'])],
            dropped=tuple(
                Dropped(text(d['rule']), number(d['limit']), whole(d['count']))
                for d in items(values['dropped'])
            ),
            model=values['model'] and _model_of(keyed(values['model'])),
            run=values['run'] and _run_of(keyed(values['run'])),
            files={
                name: tuple(text(file) for file in items(files))
                for name, files in keyed(values['files']).items()
            },
            source=values['source'] and text(values['source']),
        )


def _detection_of(values: dict[str, Any]) -> Detection:
    def known(name: str, read: Any) -> Any:
        return None if values[name] is None else read(values[name])

    x, y, z = numbers(values['center_world_xyz'], 3)
    return Detection(
        center_mm=(x, y, z),
        score=number(values['score']),
        size_mm=known('size_mm_zyx', lambda size: numbers(size, 3)),
        **{
            name: known(name, read)
            for name, read in (
                ('rpn_score', number),
                ('rcnn_score', number),
                ('volume_mm3', number),
                ('mask_label', whole),
                ('slice_number', whole),
                ('instance_number', whole),
                ('sop_instance_uid', text),
                ('lung_side', text),
                ('lung_zone', text),
            )
        },
    )


def _model_of(values: dict[str, Any]) -> ModelInfo:
    low, high = numbers(values['window'], 2)
    return ModelInfo(
        name=text(values['name']),
        version=text(values['version']),
        weights=text(values['weights']),
        weights_sha256=text(values['weights_sha256']),
        config_sha256=text(values['config_sha256']),
        window=(low, high),
        spacing_mm=number(values['spacing_mm']),
    )


def _run_of(values: dict[str, Any]) -> RunInfo:
    layout = values['memory_format']
    windows = None
    if values['windows']:
        counts = keyed(values['windows'])
        windows = whole(counts['run']), whole(counts['possible'])
    return RunInfo(
        created=text(values['created']),
        lungdet_version=text(values['lungdet_version']),
        device=text(values['device']),
        precision=text(values['precision']),
        seconds={
            name: number(value)
            for name, value in keyed(values['seconds']).items()
        },
        memory_format=layout and text(layout),
        windows=windows,
        backend=text(values.get('backend', 'torch')),
    )
