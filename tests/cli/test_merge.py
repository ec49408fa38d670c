from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis.scan_list import ScanList
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


def test_a_missing_scan_has_its_own_exit_code(
    parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    ScanList(('b', '=c', 'z')).write(parts[0])
    words = ['merge', *map(str, parts), '--out', str(tmp_path / 'all')]

    assert main(words) == 4
    line = capsys.readouterr().err.strip()
    assert line.startswith('lungdet: no result of 1 of 3 scans (z); ')
    assert '\n' not in line and '--allow-missing' in line

    assert main([*words, '--allow-missing']) == 0
    assert 'caveat: no result of 1 of 3 scans (z)' in capsys.readouterr().err
