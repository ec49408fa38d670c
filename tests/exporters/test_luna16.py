from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.exporters import ExportInput
from lungdet.exporters.luna16 import write_luna16
from lungdet.io.luna16 import read_marks
from tests.exporters.scene import make_result


def test_marks_are_read_back(tmp_path: Path) -> None:
    files = write_luna16(tmp_path, ExportInput(make_result()))

    assert files == ['marks.csv']
    ((uid, (centers, scores)),) = read_marks(tmp_path / 'marks.csv').items()
    assert uid == '1.2'
    np.testing.assert_allclose(centers, [[6.75, -0.5, 11], [7, 1, 15]])
    assert scores.tolist() == [0.75, 0.25]
