from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lungdet.exporters import ExportInput
from lungdet.exporters.nndetection import write_nndetection
from tests.exporters.scene import flipped_scan, make_result


def test_centres_are_where_nndetection_puts_them(tmp_path: Path) -> None:
    """Its LUNA16 script: mean of the corners as continuous index."""
    result = make_result(flipped_scan())

    write_nndetection(tmp_path, ExportInput(result))

    content = json.loads((tmp_path / 'nndetection.json').read_text())
    image = sitk.Image(content['original_size_of_raw_data'][::-1], 1)
    image.SetOrigin(content['itk_origin'])
    image.SetSpacing(content['itk_spacing'])
    image.SetDirection(content['itk_direction'])
    for box, detection in zip(content['pred_boxes'], result.detections):
        z1, y1, z2, y2, x1, x2 = box
        center = image.TransformContinuousIndexToPhysicalPoint(
            [(x1 + x2) / 2, (y1 + y2) / 2, (z1 + z2) / 2]
        )
        np.testing.assert_allclose(center, detection.center_mm)
    assert content['pred_scores'] == [0.75, 0.25]
    assert content['pred_labels'] == [0, 0]


def test_a_box_of_whole_voxels_is_painted_back(tmp_path: Path) -> None:
    """nnDetection paints int(min) + 1 : int(max)."""
    result = make_result()  # the best box is z 0.5..1.5 edges; make it whole
    x, y, z = result.geometry.to_world([[2.0, 3.0, 4.5]])[0]
    whole = replace(
        result.detections[0],
        center_mm=(x, y, z),
        size_mm=(2.0, 3.0, 2.0),  # 1, 3 and 4 voxels
    )
    result = replace(result, detections=[whole])

    write_nndetection(tmp_path, ExportInput(result))

    content = json.loads((tmp_path / 'nndetection.json').read_text())
    z1, y1, z2, y2, x1, x2 = content['pred_boxes'][0]
    spans = [(int(a) + 1, int(b)) for a, b in ((z1, z2), (y1, y2), (x1, x2))]
    assert spans == [(2, 3), (2, 5), (3, 7)]
