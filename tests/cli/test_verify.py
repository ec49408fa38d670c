from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from lungdet.io.case_store import CaseStore


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Two phantoms, prepared."""
    scans, cases = str(tmp_path / 'scans'), str(tmp_path / 'cases')
    xml = str(tmp_path / 'scans' / 'xml')
    assert main(['phantom', scans, '--scans', '2', '--size', 'small']) == 0
    assert main(['prepare', 'luna16', scans, cases, '--lidc-xml', xml]) == 0
    return tmp_path / 'cases'


def test_arrays_are_those_that_were_written_or_named(
    cases: Path, capsys: pytest.CaptureFixture
) -> None:
    capsys.readouterr()
    assert main(['verify', str(cases)]) == 0
    assert capsys.readouterr().out == f'2 cases verified in {cases}\n'

    for path in cases.rglob('*.image.b2nd'):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    assert main(['verify', str(cases)]) == 2
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    for uid, line in zip(CaseStore(cases).records, lines, strict=True):
        assert line.startswith('lungdet: ') and uid in line
    assert said.out == f'2 of 2 cases damaged in {cases}\n'
