from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lungdet.exporters import ExportInput
from lungdet.exporters.monai import write_monai
from tests.exporters.scene import TURNED, empty_result, make_result


def test_boxes_are_centres_and_sizes_in_the_world(tmp_path: Path) -> None:
    write_monai(tmp_path, ExportInput(make_result()))

    (content,) = json.loads((tmp_path / 'monai.json').read_text())
    assert content['box'] == [
        [6.75, -0.5, 11.0, 1.0, 2.0, 2.0],
        [7.0, 1.0, 15.0, 1.0, 3.0, 4.0],
    ]
    assert content['label'] == [0, 0]
    assert content['label_scores'] == [0.75, 0.25]
    assert content['coordinate_system'] == 'LPS'


def test_boxes_of_an_oblique_case_enclose_its_boxes(tmp_path: Path) -> None:
    result = replace(make_result(), geometry=TURNED)
    write_monai(tmp_path, ExportInput(result))

    (content,) = json.loads((tmp_path / 'monai.json').read_text())
    for box, detection in zip(content['box'], result.detections, strict=True):
        (edges,) = TURNED.box_around(
            [detection.center_mm], [detection.size_mm]
        )
        corners = TURNED.to_world(
            [
                [edges[0 + 3 * z], edges[1 + 3 * y], edges[2 + 3 * x]]
                for z, y, x in product((0, 1), repeat=3)
            ]
        )
        assert box[:3] == pytest.approx(detection.center_mm)
        assert box[3:] == pytest.approx(np.ptp(corners, axis=0))


def test_a_scan_without_detections_has_empty_lists(tmp_path: Path) -> None:
    write_monai(tmp_path, ExportInput(empty_result()))

    (content,) = json.loads((tmp_path / 'monai.json').read_text())
    assert content['box'] == content['label_scores'] == []
