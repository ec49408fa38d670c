from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from lungdet.exporters import ExportInput
from lungdet.exporters.slicer import write_slicer
from tests.exporters.scene import TURNED, make_result


def test_points_are_the_centres(tmp_path: Path) -> None:
    write_slicer(tmp_path, ExportInput(make_result()))

    content = json.loads((tmp_path / 'marks.mrk.json').read_text())
    (markup,) = content['markups']
    assert markup['type'] == 'Fiducial'
    assert markup['coordinateSystem'] == 'LPS'
    first, second = markup['controlPoints']
    assert first['position'] == [6.75, -0.5, 11.0]
    assert first['label'] == 'nodule 1 (0.75)'
    assert second['description'] == '2.3 mm'  # cube root of 4 x 3 x 1


def test_regions_have_the_corners_of_the_boxes(tmp_path: Path) -> None:
    """On an oblique case: corners from Slicer's matrix, and from the box."""
    result = replace(make_result(), geometry=TURNED)

    files = write_slicer(tmp_path, ExportInput(result))

    assert files[1:] == [
        'rois/nodule-001.mrk.json',
        'rois/nodule-002.mrk.json',
    ]
    for k, detection in result.numbered():
        file = files[k]
        (roi,) = json.loads((tmp_path / file).read_text())['markups']
        name = f'nodule {k} ({detection.score:.2f})'
        (point,) = roi['controlPoints']
        assert roi['name'] == point['label'] == name
        assert point['position'] == list(detection.center_mm)
        axes = np.array(roi['orientation']).reshape(3, 3)
        signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1)
        half = np.array(roi['size'])[:, None] / 2
        corners = np.array(roi['center'])[:, None] + axes @ (signs * half)
        (box,) = TURNED.box_around([detection.center_mm], [detection.size_mm])
        z1, y1, x1, z2, y2, x2 = box - 0.5
        index = [
            [(z1, z2)[k], (y1, y2)[j], (x1, x2)[i]]
            for i, j, k in (signs.T + 1) // 2
        ]
        np.testing.assert_allclose(
            corners.T, TURNED.to_world(index), atol=1e-9
        )


def test_a_detection_without_a_box_is_a_point_alone(tmp_path: Path) -> None:
    result = make_result()
    result.detections[0] = replace(result.detections[0], size_mm=None)

    files = write_slicer(tmp_path, ExportInput(result))

    assert files == ['marks.mrk.json', 'rois/nodule-002.mrk.json']
