from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lungdet.exporters import ExportInput
from lungdet.exporters.coco import write_coco
from tests.exporters.scene import flipped_scan, make_result


def test_boxes_are_read_back_in_the_world(tmp_path: Path) -> None:
    grid = flipped_scan()
    result = make_result(grid)

    write_coco(tmp_path, ExportInput(result))

    content = json.loads((tmp_path / 'coco.json').read_text())
    (image,) = content['images']
    assert (image['width'], image['height'], image['depth']) == (10, 14, 9)
    assert [a['score'] for a in content['annotations']] == [0.75, 0.25]
    for annotation, detection in zip(
        content['annotations'], result.detections
    ):
        x, y, z, w, h, d = annotation['bbox']
        center = np.array([[z + d / 2, y + h / 2, x + w / 2]]) - 0.5
        np.testing.assert_allclose(
            grid.to_world(center)[0], detection.center_mm
        )
        size = np.array([w, h, d]) * image['spacing']
        np.testing.assert_allclose(size[::-1], detection.size_mm)
        np.testing.assert_allclose(annotation['area'], w * h * d)
