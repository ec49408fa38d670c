from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.image import imread

from lungdet.exporters import ExportInput
from lungdet.exporters.picture import write_picture
from tests.exporters.scene import GRID, empty_result, make_result

IMAGE = np.full(GRID.shape, -800, np.int16)


def test_each_detection_has_a_row(tmp_path: Path) -> None:
    one, two = make_result(), make_result()
    del one.detections[1:]
    heights = []
    for result in (one, two):
        scan = ExportInput(result, IMAGE)
        assert write_picture(tmp_path, scan) == ['marks.png']
        heights.append(imread(tmp_path / 'marks.png').shape[0])

    assert heights[1] == 2 * heights[0]


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert write_picture(tmp_path, ExportInput(empty_result(), IMAGE)) == []
    assert write_picture(tmp_path, ExportInput(make_result())) == []
    assert not [*tmp_path.iterdir()]
