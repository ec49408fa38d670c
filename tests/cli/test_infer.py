from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lungdet.cli import main
from lungdet.cli.infer import import_user_module
from lungdet.errors import ConfigError


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['{folder}/w.pth'], 'not written by'),
        (['{folder}/x'], 'no checkpoint there'),
        (
            ['{folder}/w.pth', '--import', 'not_there_at_all'],
            "No module named 'not_there_at_all'",
        ),
        (
            ['{folder}/w.pth', '--device', 'foo'],
            'choose auto, cpu or cuda',
        ),
    ],
)
def test_inference_stops_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    words: list[str],
    reason: str,
) -> None:
    torch.save(torch.zeros(2), tmp_path / 'w.pth')
    weights = [word.format(folder=tmp_path) for word in words]
    out = str(tmp_path / 'out')

    code = main(['infer', str(tmp_path), '--out', out, '--weights', *weights])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert reason in error


def test_module_that_raises_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'raising_module.py').write_text('1 / 0')
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match='raising_module: raises ZeroDiv'):
        import_user_module('raising_module')
