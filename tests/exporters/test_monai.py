from __future__ import annotations

import json
from pathlib import Path

from lungdet.exporters import ExportInput
from lungdet.exporters.monai import write_monai
from tests.exporters.scene import empty_result, make_result


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


def test_a_scan_without_detections_has_empty_lists(tmp_path: Path) -> None:
    write_monai(tmp_path, ExportInput(empty_result()))

    (content,) = json.loads((tmp_path / 'monai.json').read_text())
    assert content['box'] == content['label_scores'] == []
