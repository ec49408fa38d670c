from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lungdet import deploy
from lungdet.cli import main
from lungdet.deploy.export import OnnxExport


def test_files_are_named_with_their_difference(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[Any] = []

    def export(*words: Any) -> OnnxExport:
        calls.append(words)
        card = {'graphs': {'rcnn': {'file': 'rcnn.onnx'}}}
        return OnnxExport(tmp_path, card, {'rcnn': 3.2e-7})

    monkeypatch.setattr(deploy, 'export_onnx', export)

    code = main(['export-onnx', '--out', str(tmp_path), '--model', 'w.pth'])

    assert code == 0
    assert calls == [(tmp_path, Path('w.pth'))]
    out = capsys.readouterr().out
    assert 'rcnn.onnx: largest difference from torch 3e-07' in out
    assert f'written to {tmp_path} (research use only)' in out


def test_a_missing_extra_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(deploy.runtimes, 'find_spec', lambda name: None)

    code = main(['export-onnx', '--out', str(tmp_path / 'out')])

    assert code == 2
    error = capsys.readouterr().err.strip()
    assert '\n' not in error
    assert error.endswith("pip install 'lungdet[onnx]'.")
    assert not (tmp_path / 'out').exists()
