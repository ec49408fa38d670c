from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jsonschema import Draft202012Validator

from lungdet.exporters import ExportInput
from lungdet.exporters.grand_challenge import write_grand_challenge
from tests.exporters.scene import make_result, turned_scan

NUMBERS = {'type': 'array', 'items': {'type': 'number'}}
# grand-challenge.org, JSON schema of the kind "Multiple points"
SCHEMA = {
    'type': 'object',
    'properties': {
        'name': {'type': 'string'},
        'type': {'enum': ['Multiple points']},
        'points': {
            'type': 'array',
            'items': {
                'type': 'object',
                'properties': {
                    'name': {'type': 'string'},
                    'type': {'enum': ['Point']},
                    'point': {**NUMBERS, 'minItems': 3, 'maxItems': 3},
                    'probability': {
                        'type': 'number',
                        'minimum': 0,
                        'maximum': 1,
                    },
                },
                'required': ['point'],
                'additionalProperties': False,
            },
        },
        'version': {
            'type': 'object',
            'properties': {
                'major': {'enum': [1]},
                'minor': {'type': 'number'},
            },
            'required': ['major', 'minor'],
            'additionalProperties': False,
        },
    },
    'required': ['version', 'type', 'points'],
    'additionalProperties': False,
}


def test_points_follow_the_schema_of_the_platform(tmp_path: Path) -> None:
    write_grand_challenge(tmp_path, ExportInput(make_result()))

    content = json.loads((tmp_path / 'nodule-locations.json').read_text())
    Draft202012Validator(SCHEMA).validate(content)
    assert [p['point'] for p in content['points']] == [
        [6.75, -0.5, 11.0],
        [7.0, 1.0, 15.0],
    ]
    assert [p['probability'] for p in content['points']] == [0.75, 0.25]


def test_points_are_in_the_frame_of_the_uploaded_image(
    tmp_path: Path,
) -> None:
    """The platform's viewer places them by the image's own header, as
    SimpleITK reads it: position of a voxel's centre, LPS, mm."""
    image, result, blocks = turned_scan()
    sitk.WriteImage(image, str(tmp_path / 'scan.mha'))

    write_grand_challenge(tmp_path, ExportInput(result))

    uploaded = sitk.ReadImage(str(tmp_path / 'scan.mha'))
    content = json.loads((tmp_path / 'nodule-locations.json').read_text())
    for point, block in zip(content['points'], blocks, strict=True):
        index = uploaded.TransformPhysicalPointToContinuousIndex(
            point['point']
        )
        middle = np.mean(np.argwhere(block), axis=0)[::-1]
        np.testing.assert_allclose(index, middle, atol=1e-6)
