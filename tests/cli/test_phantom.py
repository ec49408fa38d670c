from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import main
from lungdet.io.image import load_volume


def test_scans_of_the_asked_number_and_size_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'scans'

    assert main(['phantom', str(out), '--scans', '2', '--size', 'small']) == 0

    assert capsys.readouterr().out == f'2 phantoms in {out}\n'
    paths = sorted(out.glob('subset*/*.mhd'))
    assert len(paths) == 2
    assert load_volume(paths[0]).array.size <= 15_000_000


def test_options_reach_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    received: dict = {}
    monkeypatch.setattr(
        'lungdet.phantom.write_luna16_phantoms',
        lambda out, **options: received.update(options, out=out),
    )

    words = ['--scans', '3', '--seed', '7', '--jobs', '2']
    assert main(['phantom', 'x', *words]) == 0

    assert received == {
        'out': Path('x'),
        'scans': 3,
        'seed': 7,
        'size': 'full',
        'jobs': 2,
    }
