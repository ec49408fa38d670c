from __future__ import annotations

import json
from pathlib import Path

from lungdet.exporters import ExportInput
from lungdet.exporters.json import write_json
from lungdet.io.results import read_result
from tests.exporters.scene import TURNED, make_result
from tests.schemas import assert_valid


def test_the_file_is_read_back(tmp_path: Path) -> None:
    result = make_result(TURNED)

    assert write_json(tmp_path, ExportInput(result)) == ['result.json']

    assert_valid('result', json.loads((tmp_path / 'result.json').read_text()))
    back = read_result(tmp_path / 'result.json')
    assert back.scan_geometry.is_close(TURNED)
    assert [d.score for d in back.detections] == [0.75, 0.25]
    assert [d.mask_label for d in back.detections] == [1, None]
