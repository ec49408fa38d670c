from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from lungdet.evaluation import READ_OUTS
from lungdet.io.case_store import CaseStore
from lungdet.io.image import load_volume


def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    code = main(['prepare', 'folder', str(tmp_path), str(tmp_path / 'out')])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert 'no scan found' in error


def test_froc_offers_every_read_out(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['froc', '--help'])

    assert '{' + ','.join(READ_OUTS) + '}' in capsys.readouterr().out
    for wrong in (['--max-marks', '-1'], ['--bootstrap', '-5']):
        with pytest.raises(SystemExit) as stop:
            main(['froc', 'x.csv', *wrong])
        assert stop.value.code == 2


def test_phantom_to_verified_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scans, cases = tmp_path / 'scans', tmp_path / 'cases'

    assert (
        main(['phantom', str(scans), '--scans', '1', '--size', 'small']) == 0
    )
    assert (
        main(
            [
                'prepare',
                'luna16',
                str(scans),
                str(cases),
                '--lidc-xml',
                str(scans / 'xml'),
            ]
        )
        == 0
    )
    assert main(['verify', str(cases)]) == 0

    assert '1 cases verified' in capsys.readouterr().out
    (uid,) = CaseStore(cases).records
    (path,) = scans.glob('subset0/*.mhd')
    assert path.stem == uid
    assert load_volume(path).array.size <= 15_000_000
