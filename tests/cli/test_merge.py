from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from tests.apis.test_inferencer import threshold
from tests.apis.test_merge_results import parts

__all__ = ['parts', 'threshold']


def test_parts_are_joined(
    parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ['merge', *map(str, parts), '--out', str(tmp_path / 'all')]

    assert main(words) == 0

    text = capsys.readouterr()
    assert text.out.startswith('4 detections in 4 scans, written to')
    assert 'caveat: 4 of 4 results have caveats' in text.err
    assert {path.name for path in (tmp_path / 'all').iterdir()} == {
        'submission.csv',
        'detections.csv',
        'seriesuids.csv',
    }


def test_nothing_to_join(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ['merge', str(tmp_path), '--out', str(tmp_path / 'all')]

    assert main(words) == 2
    assert 'no result there' in capsys.readouterr().err
