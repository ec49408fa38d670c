"""The command that inserts nodules into prepared scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from lungdet.io.case_store import CaseStore
from lungdet.io.nodule_library import write_library
from tests.datasets.stores import airy_store
from tests.io.nodules import ball_nodule


def test_nodules_are_inserted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scans, out = airy_store(tmp_path / 'scans'), tmp_path / 'out'
    library = tmp_path / 'nodules.npz'
    write_library(library, [ball_nodule('a'), ball_nodule('b')])
    words = ['insert', str(scans), str(library)]

    assert main([*words, str(out), '--part', '1/1', '--draws', '1']) == 0

    assert '4 cases with' in capsys.readouterr().out
    assert len(CaseStore(out).records) == 4
    for part in ('3/2', '1-3', '1/x', '0/2'):
        with pytest.raises(SystemExit, match='2'):
            main([*words, str(out), '--part', part])
        assert f'{part} is not K/N' in capsys.readouterr().err
    assert main([*words, str(scans)]) == 2
    assert 'is the folder of the scans' in capsys.readouterr().err
