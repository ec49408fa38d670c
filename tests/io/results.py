"""Results that tests write and read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lungdet.geometry import Geometry
from lungdet.io.predictions import CasePredictions
from lungdet.structures import Dropped, ModelInfo, RunInfo, SeriesResult

GRID = Geometry.from_parts(
    (20, 24, 28), spacing_zyx=(2, 1, 0.5), origin_xyz=(10, -20, 30)
)
SCAN = Geometry.from_parts(
    (9, 50, 60), spacing_zyx=(4.5, 0.5, 0.25), origin_xyz=(9, -21, 29)
)


def make_result() -> SeriesResult:
    """The better detection second, and without a mask."""
    mask = np.ones((2, 3, 4), dtype=bool)
    predictions = CasePredictions(
        bboxes=np.array([[2, 4, 4, 4, 8, 12], [0, 0, 0, 2, 2, 2.0]]),
        scores=np.array([0.25, 0.75]),
        rpn_scores=np.array([0.5, 0.125]),
        rcnn_scores=np.array([np.nan, 0.5]),
        mask_boxes=np.array([[2, 4, 4, 4, 7, 8], [0, 0, 0, 0, 0, 0]]),
        masks=[mask, None],
    )
    return predictions.to_result('1.20', GRID, source_geometry=SCAN)


def complete_result() -> SeriesResult:
    """A result with a value in every field."""
    result = make_result()
    result.detections[0] = replace(
        result.detections[0],
        slice_number=3,
        instance_number=7,
        sop_instance_uid='1.2.7',
        lung_side='left',
        lung_zone='upper',
    )
    return replace(
        result,
        caveats=['a doubt'],
        dropped=(Dropped('score', 0.2, 4),),
        model=ModelInfo(
            'NoduleNet', '3 epochs', 'a.pth', 'a' * 64, 'b' * 64, (-1, 2), 1.0
        ),
        run=RunInfo(
            '2026-01-02T03:04:05+00:00',
            '0.1',
            'cpu',
            'fp32',
            {'read': 0.5},
            'channels_last',
            (3, 4),
        ),
        files={'nifti': ('masks.nii.gz',)},
        source='http://host/dicom-web/studies/1.2/series/1.20',
    )
